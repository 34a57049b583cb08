"""What a machine must have before a bundle is built: asked first, so that nothing fails a quarter of an hour later."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from labctl import paths, process
from labctl.bundle.recipe import TRIPLETS, DebianGroup, GoGroup, Group, Recipe, host_arch
from labctl.errors import PrerequisiteError

# Measured after a first build.
_MODULES_GB = 3.1
_OBJECTS_GB = 5.7
_BUNDLE_GB = 1.4

_DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def check(absent: Sequence[Group], recipe: Recipe, go: Path) -> None:
    """Raise `PrerequisiteError` unless `absent`, a part of `recipe`, can be built here; names all that is missing."""
    if not absent:
        return
    if sys.platform != "linux":
        raise PrerequisiteError(
            "a bundle is built on Linux only, with its compilers and Debian's packages",
            "labctl bundle export on a Linux machine, then labctl bundle import here",
        )
    missing: dict[str, str] = {}
    if any(isinstance(group, DebianGroup) for group in absent):
        missing |= _missing_for_debian()
    if any(isinstance(group, GoGroup) and group.cgo for group in absent):
        missing |= _missing_for_c() if recipe.arch == host_arch() else _missing_for_other_c(recipe.arch)
    if missing:
        first = "sudo dpkg --add-architecture {0} && sudo apt-get update && " if recipe.arch != host_arch() else ""
        raise PrerequisiteError(
            f"building a bundle needs {', '.join(missing)}",
            f"{first.format(recipe.arch)}sudo apt-get install {' '.join(dict.fromkeys(missing.values()))}",
        )
    _check_space(absent, recipe.groups, go)


def _missing_for_debian() -> dict[str, str]:
    programs = {"mmdebstrap": "mmdebstrap", "readelf": "binutils"}
    missing = {name: package for name, package in programs.items() if not process.has(name)}
    if not _DEBIAN_KEYS.exists():
        missing["the keys of the Debian archive"] = "debian-archive-keyring"
    return missing


def _missing_for_c() -> dict[str, str]:
    missing = {
        name: package for name, package in (("gcc", "gcc"), ("pkg-config", "pkg-config")) if not process.has(name)
    }
    libraries = {"libseccomp.a": "libseccomp-dev", "libc.a": "libc6-dev"}
    if "gcc" in missing:
        return {**missing, **libraries}
    return missing | {name: package for name, package in libraries.items() if not _has_library("gcc", name)}


def _missing_for_other_c(arch: str) -> dict[str, str]:
    """The same for Debian's cross compiler."""
    gcc = f"{TRIPLETS[arch]}-gcc"
    libraries = {"libseccomp.a": f"libseccomp-dev:{arch}", "libc.a": f"libc6-dev-{arch}-cross"}
    missing = {} if process.has("pkg-config") else {"pkg-config": "pkg-config"}
    if not process.has(gcc):
        return {**missing, gcc: f"gcc-{TRIPLETS[arch].replace('_', '-')}", **libraries}
    return missing | {name: package for name, package in libraries.items() if not _has_library(gcc, name)}


def _has_library(gcc: str, name: str) -> bool:
    """Whether the compiler finds the static library: only then does it answer with a path."""
    return Path(process.run([gcc, f"-print-file-name={name}"]).stdout.strip()).is_absolute()


def _check_space(absent: Sequence[Group], groups: Sequence[Group], go: Path) -> None:
    """Modules, Go's cache and bundles may lie on different disks; what is cached already needs no space again."""
    share = sum(group.about_s for group in absent) / sum(group.about_s for group in groups)
    answer = process.run([go, "env", "GOMODCACHE", "GOCACHE"], env={"GOTOOLCHAIN": "local"}).stdout
    modules, objects, *_ = (Path(line) for line in answer.splitlines())
    wanted = {modules: share * _MODULES_GB, objects: share * _OBJECTS_GB, paths.builds(): share * _BUNDLE_GB}
    disks: dict[int, list[Path]] = {}
    for folder in wanted:
        disks.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in disks.values():
        free = shutil.disk_usage(_existing(folders[0])).free / 1e9
        if free >= sum(wanted[folder] for folder in folders):
            continue
        needed = sum(max(0.0, wanted[folder] - _size_gb(folder)) for folder in folders)
        if free < needed:
            raise PrerequisiteError(
                f"building a bundle needs about {needed:.1f} GB on the disk of {folders[0]}; {free:.1f} GB are free",
                "free some space, or move the caches with XDG_CACHE_HOME, GOCACHE and GOMODCACHE",
            )


def _size_gb(folder: Path) -> float:
    """What the files below `folder` take."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(where) / name).lstat().st_size
    return total / 1e9


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
