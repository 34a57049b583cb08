"""A finished bundle: its manifest, its folder, and whether the two agree."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from labctl.bundle.image import file_sha256
from labctl.bundle.recipe import UsedBy
from labctl.errors import StateError, UsageError

MANIFEST = "manifest.json"
FOLDERS = ("bin", "cni", "images", "licences")

# What an entry is known by: a checksum upstream published or go.sum vouches for, or upstream's signature as well.
Checked = Literal["checksum", "signature"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class ProgramEntry(_Frozen):
    """A program of the bundle, below bin/ or cni/."""

    name: str
    path: str = Field(pattern=rf"^(bin|cni)/{_NAME}$")
    version: str
    sha256: Sha256
    size: int
    origin: str = Field(description="module@version that it was built from, or the file it was downloaded as")
    licence: str
    checked: Checked = "checksum"


class ImageEntry(_Frozen):
    """A tar with one OCI image, below images/."""

    ref: str
    path: str = Field(pattern=rf"^images/{_NAME}$")
    sha256: Sha256
    size: int
    origin: str = Field(description="modules and packages whose programs are in it, or the image at upstream's")
    used_by: UsedBy = Field(description="which nodes need it")
    checked: Checked = "checksum"


class Manifest(_Frozen):
    """manifest.json: what a bundle holds."""

    schema_: Literal["labctl.bundle/v1"] = Field(default="labctl.bundle/v1", alias="schema")
    kubernetes: str
    arch: str
    source: Literal["build", "download"]
    go: str = Field(default="", description="version of the Go toolchain that built it")
    recipe: str = Field(
        pattern=r"^[0-9a-f]{16}$",
        description="hash of everything that went in, but for the toolchain; names the folder",
    )
    components: dict[str, str]
    programs: list[ProgramEntry]
    images: list[ImageEntry]
    licences: dict[str, Sha256] = Field(default={}, description="files below licences/, with their checksums")

    @property
    def entries(self) -> list[ProgramEntry | ImageEntry]:
        """Programs, then images."""
        return [*self.programs, *self.images]

    @property
    def size(self) -> int:
        """Bytes of all programs and images."""
        return sum(entry.size for entry in self.entries)

    @property
    def key(self) -> str:
        """A hash of the contents: two bundles with the same key hold the same programs and images."""
        contents = sorted((entry.path, entry.sha256) for entry in self.entries)
        return hashlib.sha256(json.dumps([self.kubernetes, self.arch, contents]).encode()).hexdigest()[:16]

    def text(self) -> str:
        """The text of manifest.json, with the computed `key` and `size`."""
        value = {**self.model_dump(mode="json"), "key": self.key, "size": self.size}
        return json.dumps(value, indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read manifest.json; ValueError if it is not one or its key is not that of its entries."""
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 (to callers it is a wrong text, not a wrong type)
        key, size = value.pop("key", None), value.pop("size", None)
        manifest = cls.model_validate(value)
        if (key, size) != (manifest.key, manifest.size):
            raise ValueError("its key or size does not belong to its entries")
        return manifest


@dataclass(frozen=True)
class Bundle:
    """A folder with programs, images and a manifest; Kubernetes is installed from it alone.

    >>> bundle.program("kubectl")
    PosixPath('.../bin/kubectl')
    """

    path: Path
    manifest: Manifest

    @cached_property
    def key(self) -> str:
        """The content hash."""
        return self.manifest.key

    def program(self, name: str) -> Path:
        """The path of the program `name`."""
        for entry in self.manifest.programs:
            if entry.name == name:
                return self.path / entry.path
        known = ", ".join(entry.name for entry in self.manifest.programs)
        raise UsageError(f"the bundle has no program {name}", f"it has {known}")

    def verify(self) -> list[str]:
        """Every way in which the folder differs from the manifest, one line each; empty if it is whole."""
        return [*self._damaged(), *self._surplus()]

    def is_complete(self) -> bool:
        """Whether every file is there with its size; contents are not read."""
        return all(_size(self.path / entry.path) == entry.size for entry in self.manifest.entries)

    def _damaged(self) -> Iterator[str]:
        for entry in self.manifest.entries:
            file = self.path / entry.path
            if not file.is_file() or file.is_symlink():
                yield f"missing: {entry.path}"
            elif file.stat().st_size != entry.size:
                yield f"wrong size: {entry.path} has {file.stat().st_size} bytes, not {entry.size}"
            elif file_sha256(file) != entry.sha256:
                yield f"wrong checksum: {entry.path}"
            elif isinstance(entry, ProgramEntry) and not os.access(file, os.X_OK):
                yield f"not executable: {entry.path}"
        for name, checksum in self.manifest.licences.items():
            file = self.path / "licences" / name
            if not file.is_file() or file.is_symlink():
                yield f"missing: licences/{name}"
            elif file_sha256(file) != checksum:
                yield f"wrong checksum: licences/{name}"

    def _surplus(self) -> Iterator[str]:
        licences = (f"licences/{name}" for name in self.manifest.licences)
        files = {MANIFEST, *(entry.path for entry in self.manifest.entries), *licences}
        known = files | {str(parent) for file in files for parent in Path(file).parents} | set(FOLDERS)
        for file in sorted(self.path.rglob("*")):
            name = str(file.relative_to(self.path))
            if name not in known:
                yield f"surplus: {name}"


def open_bundle(path: Path) -> Bundle:
    """The bundle in the folder `path`; `StateError` if there is none that this labctl can read."""
    try:
        return Bundle(path, Manifest.parse((path / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StateError(f"{path} is no bundle: {reason}", "labctl bundle build makes one") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
