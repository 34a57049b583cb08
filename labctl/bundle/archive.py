"""A bundle as one file (.tar.zst), for machines without a network."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from labctl.bundle.assemble import new_folder, publish
from labctl.bundle.model import MANIFEST, Bundle, Manifest, open_bundle
from labctl.errors import LabError, StateError, UsageError
from labctl.events import Emit, Progress

_LEVEL = 3  # a third of the size; higher levels cost minutes and save little
_MANIFEST_LIMIT = 4 << 20


def pack(bundle: Bundle, target: Path, emit: Emit) -> Path:
    """Write `bundle` to the file `target`, the manifest first. The same bundle gives the same bytes."""
    problems = bundle.verify()
    if problems:
        raise StateError(
            f"{bundle.path} is damaged: {problems[0]}", "labctl bundle verify lists all; download or build"
        )
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent.absolute()}")
    emit(Progress(f"writing {bundle.manifest.size / 1e6:.0f} MB to {target}"))
    files = sorted(path for path in bundle.path.rglob("*") if path.is_file() and path.name != MANIFEST)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as out:
        partial = Path(out.name)
        try:
            packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, threads=-1)
            with packer.stream_writer(out, closefd=False) as packed, tarfile.open(mode="w|", fileobj=packed) as tar:
                for file in (bundle.path / MANIFEST, *files):
                    _add(tar, file, str(file.relative_to(bundle.path)))
            partial.chmod(0o644)
            partial.rename(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return target


def peek(file: Path) -> Manifest:
    """The manifest of the bundle in `file`; the rest is not read."""
    with _opened(file) as tar:
        first = tar.next()
        if first is None or first.name != MANIFEST or first.size > _MANIFEST_LIMIT:
            raise _no_bundle(file, f"it does not begin with {MANIFEST}")
        source = tar.extractfile(first)
        assert source is not None
        return Manifest.parse(source.read().decode("utf-8"))


def unpack(file: Path, emit: Emit) -> Bundle:
    """Bring the bundle in `file` into the cache; every checksum is verified before. Call it with the lock held."""
    manifest = peek(file)
    emit(Progress(f"reading {manifest.size / 1e6:.0f} MB from {file}"))
    partial = new_folder()
    try:
        with _opened(file) as tar:
            tar.extractall(partial, filter="data")
        (partial / MANIFEST).chmod(0o644)
        problems = Bundle(partial, manifest).verify()
        if problems:
            listed = "".join(f"\n  {problem}" for problem in problems[:10])
            raise _no_bundle(file, f"{len(problems)} of its files are not as its manifest says:{listed}")
        return open_bundle(publish(partial, manifest.recipe))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            file.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw) as plain,
            tarfile.open(mode="r|", fileobj=io.BufferedReader(plain)) as tar,
        ):
            yield tar
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {file.absolute()}") from error
    except (zstandard.ZstdError, tarfile.TarError, EOFError, ValueError) as error:
        raise _no_bundle(file, str(error).splitlines()[0]) from error


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    info = tarfile.TarInfo(name)  # owner and times are 0
    info.size = file.stat().st_size
    info.mode = file.stat().st_mode & 0o755
    with file.open("rb") as source:
        tar.addfile(info, source)


def _no_bundle(file: Path, reason: str) -> LabError:
    return StateError(
        f"{file} is no bundle, or a damaged one: {reason}", "copy it again, or labctl bundle export it again"
    )
