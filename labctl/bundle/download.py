"""Makes a bundle from what upstream publishes: first everything small (checksums, manifests), then everything large."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from labctl.bundle import hello, image, signature
from labctl.bundle.assemble import link, new_folder, publish
from labctl.bundle.fetch import Fetcher, Remote
from labctl.bundle.image import file_sha256
from labctl.bundle.model import MANIFEST, Bundle, Checked, ImageEntry, Manifest, ProgramEntry, open_bundle
from labctl.bundle.recipe import UsedBy
from labctl.bundle.registry import Descriptor, Pulled, Registry
from labctl.bundle.signature import Signature
from labctl.bundle.upstream import REGISTRY, Release, ReleaseFile, RemoteImage
from labctl.errors import LabError
from labctl.events import Emit, Progress

_BUSYBOX = "localhost/busybox:1"


@dataclass(frozen=True)
class FilePlan:
    """A file of a release, where it is, and its signature if there is one."""

    file: ReleaseFile
    remote: Remote
    signed: Signature | None


@dataclass(frozen=True)
class ImagePlan:
    """An image, its manifest, and its signature with the statement that was signed if there is one."""

    image: RemoteImage
    pulled: Pulled
    signed: tuple[Signature, Descriptor] | None


@dataclass(frozen=True)
class Plan:
    """What is to be fetched, by checksum; made from upstream's small files alone."""

    release: Release
    files: tuple[FilePlan, ...]
    images: tuple[ImagePlan, ...]


class Upstream:
    """Upstream's servers, or the mirrors that stand for them (`mirrors`: upstream's base -> another)."""

    def __init__(self, mirrors: Mapping[str, str], fetcher: Fetcher, emit: Emit) -> None:
        self._mirrors = mirrors
        self._fetcher = fetcher
        self._emit = emit
        self._registry = Registry(self._place(REGISTRY), fetcher)

    def plan(self, release: Release) -> Plan:
        """Look up every checksum and every image. `LabError` if one cannot be had: then nothing was fetched yet."""
        return Plan(release, tuple(map(self._file, release.files)), tuple(self._images(release)))

    def make(self, plan: Plan) -> Bundle:
        """Fetch what `plan` names and put the bundle together."""
        start = time.monotonic()
        partial = new_folder()
        try:
            programs = [entry for wanted in plan.files for entry in self._programs(wanted, partial)]
            images = [entry for wanted in plan.images for entry in self._pull(wanted, plan.release.arch, partial)]
            manifest = Manifest(
                kubernetes=plan.release.kubernetes,
                arch=plan.release.arch,
                source="download",
                recipe=plan.release.hash,
                components={name.replace("-", "_"): version for name, version in plan.release.versions.items()},
                programs=programs,
                images=images,
            )
            (partial / MANIFEST).write_text(manifest.text(), encoding="utf-8")
            bundle = open_bundle(publish(partial, manifest.recipe))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        words = f"{manifest.size / 1e6:.0f} MB in {bundle.path}"
        self._emit(Progress(f"the bundle is complete after {time.monotonic() - start:.0f} s: {words}"))
        return bundle

    def _place(self, url: str) -> str:
        """`url` with upstream's base replaced by its mirror."""
        for base, mirror in self._mirrors.items():
            if url == base or url.startswith(f"{base}/"):
                return mirror.rstrip("/") + url.removeprefix(base)
        return url

    def _file(self, file: ReleaseFile) -> FilePlan:
        sums_url, url = self._place(file.sums_url), self._place(file.url)
        checksum = file.checksum_in(self._fetcher.text(sums_url))
        if checksum is None:
            raise LabError(f"{sums_url} has no SHA-256 of {file.file_name}", "ask who runs the server")
        signed = signature.of_file(url, self._fetcher) if file.is_signed else None
        return FilePlan(file, Remote(url, checksum, f"{file.file_name} {file.version}"), signed)

    def _images(self, release: Release) -> Iterator[ImagePlan]:
        for wanted in release.images:
            pulled = self._registry.pull(wanted.repository, wanted.tag, release.arch)
            yield ImagePlan(wanted, pulled, signature.of_image(self._registry, pulled))

    def _programs(self, wanted: FilePlan, target: Path) -> Iterator[ProgramEntry]:
        """Fetch one file of a release and take its programs out."""
        file = wanted.file
        self._emit(Progress(f"fetching {wanted.remote.name}"))
        fetched = self._fetcher.file(wanted.remote)
        checked: Checked = "checksum"
        if wanted.signed:
            wanted.signed.verify(wanted.remote.sha256)
            checked = "signature"
        for path, member in file.programs.items():
            place = target / path
            if member:
                _extract(fetched, member, place, wanted.remote.url)
            else:
                link(fetched, place)
            place.chmod(0o555)
            yield ProgramEntry(
                name=place.name,
                path=path,
                version=file.version,
                sha256=file_sha256(place),
                size=place.stat().st_size,
                origin=file.url,
                licence="Apache-2.0",
                checked=checked,
            )

    def _pull(self, wanted: ImagePlan, arch: str, target: Path) -> Iterator[ImageEntry]:
        """Fetch the files of one image and write it as a tar; busybox also becomes the hello-world image."""
        pulled, ref = wanted.pulled, wanted.image.ref
        self._emit(Progress(f"fetching {wanted.image.repository}:{wanted.image.tag}, {pulled.size / 1e6:.0f} MB"))
        checked: Checked = "checksum"
        if wanted.signed:
            signed, statement = wanted.signed
            signature.verify_image(signed, self._blob(pulled, statement).read_bytes(), pulled)
            checked = "signature"
        blobs = {part.sha256: self._blob(pulled, part) for part in pulled.parts}
        tar = target / wanted.image.path
        image.pack(tar, ref, arch, pulled.text, blobs, pulled.media_type)
        origin = f"registry.k8s.io/{wanted.image.repository}@{pulled.digest}"
        yield _entry(ref, tar, origin, wanted.image.used_by, checked)
        if ref == _BUSYBOX:
            tar = target / "images/helloworld.tar"
            hello.write(pulled, blobs, arch, tar)
            yield _entry(hello.REF, tar, f"{origin}, labctl/bundle/www", "all", checked)

    def _blob(self, pulled: Pulled, part: Descriptor) -> Path:
        remote = self._registry.blob(pulled.repository, part, f"{pulled.repository}, {part.digest[:19]}")
        return self._fetcher.file(remote, self._registry.headers(pulled.repository))


def _entry(ref: str, tar: Path, origin: str, used_by: UsedBy, checked: Checked) -> ImageEntry:
    size, path = tar.stat().st_size, f"images/{tar.name}"
    return ImageEntry(
        ref=ref, path=path, sha256=file_sha256(tar), size=size, origin=origin, used_by=used_by, checked=checked
    )


def _extract(archive: Path, member: str, place: Path, url: str) -> None:
    """Take one program out of a release's archive."""
    try:
        with tarfile.open(archive) as packed:
            found = next(info for info in packed if os.path.normpath(info.name) == member and info.isreg())
            source = packed.extractfile(found)
            assert source is not None
            with source, place.open("wb") as out:
                shutil.copyfileobj(source, out)
    except StopIteration as error:
        raise LabError(
            f"{url} holds no {member}: upstream packs this version differently",
            "labctl bundle build, or bundle: {source: build} in labctl.yml, does without it",
        ) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise LabError(f"{url} cannot be unpacked: {error}") from error
