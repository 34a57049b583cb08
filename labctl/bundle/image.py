"""Writes OCI images as tar files: small, reproducible, loadable with `ctr images import` and `podman load`.

One uncompressed layer an image: nodes unpack it without gunzip, and the same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

_CHUNK = 1 << 20
_EPOCH = "1970-01-01T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class File:
    """A file of an image: `source` is a path on this machine or the content itself."""

    path: str
    source: Path | bytes
    mode: int = 0o755

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)


@dataclass(frozen=True)
class Link:
    """A symbolic link of an image."""

    path: str
    target: str


@dataclass(frozen=True)
class Folder:
    """A folder of an image that no file implies, or that needs another mode than 0755."""

    path: str
    mode: int = 0o755


Entry = File | Link | Folder


@dataclass(frozen=True)
class Image:
    """What goes into one image tar."""

    ref: str
    arch: str
    entries: tuple[Entry, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A file of an image: its configuration, a layer, or its manifest."""

    media_type: str
    sha256: str
    size: int

    def json(self) -> dict[str, Any]:
        """As an OCI descriptor."""
        return {"mediaType": self.media_type, "digest": f"sha256:{self.sha256}", "size": self.size}


def minimal_root() -> tuple[Entry, ...]:
    """What a static program expects around it: /tmp, the names of root and nobody, and how hosts are looked up."""
    passwd = b"root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    return (
        Folder("tmp", 0o1777),
        File("etc/passwd", passwd, 0o644),
        File("etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644),
        File("etc/nsswitch.conf", b"hosts: files dns\n", 0o644),
    )


def write(image: Image, target: Path) -> None:
    """Write `image` to the file `target` as a tar of an OCI image layout.

    >>> write(Image("localhost/pause:1", "amd64", (File("pause", Path("pause")),), ("/pause",)), Path("pause.tar"))
    """
    layer_file = target.with_name(target.name + ".layer")
    try:
        layer_part = write_layer(image.entries, layer_file)
        config = json_bytes(_config(image, layer_part))
        config_part = Part(f"{_OCI}.config.v1+json", _sha256(config), len(config))
        manifest = json_bytes(manifest_of(config_part, [layer_part]))
        blobs: dict[str, Path | bytes] = {config_part.sha256: config, layer_part.sha256: layer_file}
        pack(target, image.ref, image.arch, manifest, blobs)
    finally:
        layer_file.unlink(missing_ok=True)


def write_layer(entries: Iterable[Entry], target: Path) -> Part:
    """Write `entries` to the file `target` as an uncompressed layer: each folder before what is in it, by path."""
    with target.open("wb") as layer:
        _write_layer(entries, layer)
    return Part(f"{_OCI}.layer.v1.tar", file_sha256(target), target.stat().st_size)


def pack(
    target: Path,
    ref: str,
    arch: str,
    manifest: bytes,
    blobs: Mapping[str, Path | bytes],
    media_type: str = f"{_OCI}.manifest.v1+json",
) -> None:
    """Write the image with this `manifest` to the file `target`; `blobs` maps checksums to what the manifest names."""
    index = json_bytes(_index(ref, arch, Part(media_type, _sha256(manifest), len(manifest))))
    members: list[Entry] = [
        File("oci-layout", json_bytes({"imageLayoutVersion": "1.0.0"}), 0o644),
        File("index.json", index, 0o644),
        File(f"blobs/sha256/{_sha256(manifest)}", manifest, 0o644),
        *(File(f"blobs/sha256/{checksum}", source, 0o644) for checksum, source in blobs.items()),
    ]
    with target.open("wb") as out:
        _write_tar(members, out)


def manifest_of(config: Part, layers: Iterable[Part]) -> dict[str, Any]:
    """The OCI manifest of an image."""
    return {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": config.json(),
        "layers": [layer.json() for layer in layers],
    }


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _config(image: Image, layer: Part) -> dict[str, Any]:
    run: dict[str, Any] = {"Env": [_PATH], "WorkingDir": "/"}
    if image.entrypoint:
        run["Entrypoint"] = list(image.entrypoint)
    if image.command:
        run["Cmd"] = list(image.command)
    if image.labels:
        run["Labels"] = dict(image.labels)
    return {
        "created": _EPOCH,
        "architecture": image.arch,
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}"]},
        "history": [{"created": _EPOCH, "created_by": "labctl"}],
    }


def _index(ref: str, arch: str, manifest: Part) -> dict[str, Any]:
    names = {"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref}
    entry = {**manifest.json(), "platform": {"architecture": arch, "os": "linux"}, "annotations": names}
    return {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [entry]}


def _write_layer(entries: Iterable[Entry], out: BinaryIO) -> None:
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{entry.path} is not a path inside an image")
        for parent in list(path.parents)[:-1]:
            by_path.setdefault(str(parent), Folder(str(parent)))
        if not isinstance(entry, Folder) and str(path) in by_path:
            raise ValueError(f"{entry.path} is in the image twice")
        by_path[str(path)] = entry
    _write_tar([by_path[name] for name in sorted(by_path)], out)


def _write_tar(entries: Iterable[Entry], out: BinaryIO) -> None:
    with tarfile.TarFile(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, copybufsize=_CHUNK) as archive:
        for entry in entries:
            _add(archive, entry)


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.path)  # uid, gid and mtime are 0
    match entry:
        case Folder():
            info.type, info.mode = tarfile.DIRTYPE, entry.mode
            archive.addfile(info)
        case Link():
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
            archive.addfile(info)
        case File():
            info.mode, info.size = entry.mode, entry.size
            if isinstance(entry.source, bytes):
                archive.addfile(info, io.BytesIO(entry.source))
            else:
                with entry.source.open("rb") as stream:
                    archive.addfile(info, stream)


def json_bytes(value: object) -> bytes:
    """JSON without a choice: the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
