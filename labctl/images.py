"""Loads images into a lab's machines: of an engine on this host by name, or from an archive."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from labctl import paths, process, remote
from labctl.config import is_archive
from labctl.errors import LabError, UsageError
from labctl.events import Emit, Progress
from labctl.providers.base import Machine
from labctl.providers.engine import NAMES, Engine

_CTR = ("ctr", "--namespace", "k8s.io", "images")
_LABEL = "labctl/source"


@dataclass(frozen=True)
class Loaded:
    """One image or archive: the `names` that pods call it by, and the machines that did not have it."""

    source: str
    names: list[str]
    machines: list[str]


@dataclass(frozen=True)
class _Source:
    """Where an image comes from; `key` changes with its content."""

    name: str
    key: str
    engine: Engine | None


def load(lab: str, images: Sequence[str], machines: Sequence[Machine], emit: Emit) -> list[Loaded]:
    """Load each of `images` into each of `machines` that has it not.

    Raises `UsageError` for an image that no engine has and for an archive that is not there.
    """
    sources = [_find(image) for image in images]
    return [_load(lab, source, machines, emit) for source in sources]


def _find(image: str) -> _Source:
    if is_archive(image):
        path = Path(image).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        with path.open("rb") as file:
            return _Source(str(path), hashlib.file_digest(file, "sha256").hexdigest()[:32], None)
    engines = [Engine(name) for name in NAMES if process.has(name)]
    for engine in engines:
        done = engine("image", "inspect", "--format", "{{.Id}}", image, check=False)
        if done.code == 0:
            key = hashlib.sha256(f"{image} {done.stdout.strip()}".encode()).hexdigest()[:32]
            return _Source(image, key, engine)
    names = " and ".join(engine.name for engine in engines) or "no engine"
    raise UsageError(
        f"there is no image {image} on this host (asked {names})",
        f"{engines[0].name if engines else NAMES[0]} pull {image}; a file is named by its path, such as ./app.tar",
    )


def _load(lab: str, source: _Source, machines: Sequence[Machine], emit: Emit) -> Loaded:
    with ThreadPoolExecutor(max_workers=8) as pool:
        lacking = [
            machine
            for machine, names in zip(machines, pool.map(lambda m: _present(lab, m, source), machines), strict=True)
            if not names
        ]
        if lacking:
            emit(Progress(f"{source.name}: into {', '.join(machine.name for machine in lacking)}"))
            with tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
                archive = _archive(source, Path(folder))
                list(pool.map(lambda machine: _import(lab, machine, source, archive), lacking))
    names = _present(lab, machines[0], source) if machines else []
    return Loaded(source.name, names, [machine.name for machine in lacking])


def _archive(source: _Source, folder: Path) -> Path:
    if source.engine is None:
        return Path(source.name)
    archive = folder / "image.tar"
    source.engine("save", "--output", archive, source.name)
    return archive


def _present(lab: str, machine: Machine, source: _Source) -> list[str]:
    """The names under which the machine has just this content."""
    query = [*_CTR, "list", "--quiet", f'labels."{_LABEL}"=={source.key}']
    return remote.run_on(lab, machine, query).split()


def _import(lab: str, machine: Machine, source: _Source, archive: Path) -> None:
    words = [*_CTR, "import", "--label", f"{_LABEL}={source.key}", "-"]
    done = process.run(remote.argv_on(lab, machine, words), stdin=archive, check=False)
    if done.code != 0 or not _present(lab, machine, source):
        said = (done.stderr.strip() or done.stdout.strip() or "ctr said nothing")[-500:]
        raise LabError(f"{source.name} cannot be loaded into {machine.name}: {said}", "is it an image archive?")
