"""The words in which a bundle is described: groups of programs, images, and the recipe that holds them."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from labctl.errors import PrerequisiteError

LAYOUT = 1  # raised when this code lays out images or the folders of groups differently
BUNDLE_LAYOUT = 3  # raised when only the finished bundle changes: nothing is built again for it

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""As Linux calls them, and macOS."""
ARCHES = tuple(dict.fromkeys(_ARCHES.values()))
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}  # GNU's words

UsedBy = Literal["all", "control_plane"]


def host_arch() -> str:
    """The architecture of this machine in Go's words."""
    return arch_of(platform.machine())


def arch_of(machine: str) -> str:
    """What ``uname -m`` says, in Go's words. Raises `PrerequisiteError`."""
    if machine not in _ARCHES:
        raise PrerequisiteError(f"labctl has no bundle for {machine} machines, only for {', '.join(_ARCHES)}")
    return _ARCHES[machine]


def digest(value: object) -> str:
    """A short hash of anything that JSON can write."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Program:
    """A main package, and the folder of the bundle it goes to ('' if it is needed in images only)."""

    name: str
    package: str
    folder: Literal["bin", "cni", ""] = ""

    @property
    def built_as(self) -> str:
        """The file name that `go build` chooses: the last part of the path that is not a major version."""
        return next(part for part in reversed(self.package.split("/")) if not re.fullmatch(r"v\d+", part))


@dataclass(frozen=True)
class GoGroup:
    """Programs of one Go module, built by one call of `go build` in a folder with go.mod and go.sum.

    `{version}`, `{major}` and `{minor}` are filled into `ldflags`.
    `module` is '' for labctl's own sources, whose version is `own_version`.
    """

    name: str
    title: str
    source: Path
    programs: tuple[Program, ...]
    about_s: int
    module: str = ""
    own_version: str = ""
    tags: tuple[str, ...] = ()
    ldflags: str = ""
    cgo: bool = False
    licence: str = "Apache-2.0"

    @cached_property
    def version(self) -> str:
        """The module's version without v, from go.mod."""
        if not self.module:
            return self.own_version
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} v(\S+)", self._go_mod, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.source}/go.mod does not require {self.module}")
        return found[1]

    @property
    def go_needed(self) -> tuple[int, ...]:
        """The oldest Go that builds it: the go line of go.mod."""
        found = re.search(r"^go (\d+(?:\.\d+)+)$", self._go_mod, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.source}/go.mod has no go line")
        return tuple(int(part) for part in found[1].split("."))

    @property
    def origin(self) -> str:
        """module@version."""
        return f"{self.module or f'labctl/bundle/{self.name}'}@v{self.version}"

    @property
    def link_flags(self) -> str:
        """The value of -ldflags."""
        major, minor, *_ = f"{self.version}.0".split(".")
        return f"-s -w {self.ldflags}".strip().format(version=self.version, major=major, minor=minor)

    @property
    def inputs(self) -> dict[str, object]:
        """Everything that goes in, but for the Go toolchain."""
        files = {
            str(path.relative_to(self.source)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.source.rglob("*"))
            if path.is_file() and not path.name.endswith("_test.go")
        }
        programs = [asdict(program) for program in self.programs]
        return {"files": files, "programs": programs, "tags": self.tags, "link": self.link_flags, "cgo": self.cgo}

    @cached_property
    def _go_mod(self) -> str:
        return (self.source / "go.mod").read_text(encoding="utf-8")


@dataclass(frozen=True)
class DebianGroup:
    """Programs from Debian packages with the shared libraries they need, and a static busybox."""

    suite: str = "trixie"
    programs: Mapping[str, str] = field(
        default_factory=lambda: {"usr/sbin/nft": "nftables", "usr/sbin/conntrack": "conntrack"}
    )
    busybox: str = "busybox-static"
    name: str = "debian"
    about_s: int = 10

    @property
    def title(self) -> str:
        """What is fetched, in words."""
        return f"nft, conntrack and busybox from Debian {self.suite}"

    @property
    def packages(self) -> list[str]:
        """The packages to extract."""
        return sorted({*self.programs.values(), self.busybox})

    @property
    def inputs(self) -> dict[str, object]:
        """Everything that goes in."""
        return {"suite": self.suite, "programs": dict(self.programs), "busybox": self.busybox}


Group = GoGroup | DebianGroup


@dataclass(frozen=True)
class ImageRecipe:
    """An image: `files` maps a path in the image to a built program.

    `extra` adds the Debian programs (``network-tools``) or busybox with its applets (``busybox``).
    """

    ref: str
    files: Mapping[str, str]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    extra: Literal["", "network-tools", "busybox"] = ""
    used_by: UsedBy = "all"

    @property
    def file_name(self) -> str:
        """The tar's name: the last part of the ref, without its tag."""
        return self.ref.rsplit("/", 1)[-1].split(":", 1)[0] + ".tar"


@dataclass(frozen=True)
class Recipe:
    """All that makes up the bundle of one version of Kubernetes."""

    version: str
    arch: str
    go_groups: tuple[GoGroup, ...]
    debian: DebianGroup
    images: tuple[ImageRecipe, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every group in the order of building: what ends soon first, Kubernetes last."""
        return (self.debian, *self.go_groups)

    @property
    def go_needed(self) -> tuple[int, ...]:
        """The oldest Go that builds all of it."""
        return max(group.go_needed for group in self.go_groups)

    @cached_property
    def hash(self) -> str:
        """A hash of everything that goes in, but for the Go toolchain: names the bundle's folder."""
        return digest(
            {
                "layout": [LAYOUT, BUNDLE_LAYOUT],
                "kubernetes": self.version,
                "arch": self.arch,
                "groups": {group.name: group.inputs for group in self.groups},
                "images": [asdict(image) for image in self.images],
            }
        )


def group_key(group: Group, arch: str, go_version: str) -> str:
    """The content hash that names a finished group's folder."""
    toolchain = go_version if isinstance(group, GoGroup) else ""
    return digest({"layout": LAYOUT, "arch": arch, "go": toolchain, "inputs": group.inputs})
