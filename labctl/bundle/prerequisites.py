"""What a machine must have before a bundle is built: asked first, so that nothing fails a quarter of an hour later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from labctl import paths, process
from labctl.bundle.recipe import DebianGroup, GoGroup, Group
from labctl.errors import PrerequisiteError

NEEDED_GB = 6.0

_DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def check(groups: Sequence[Group], go: Path) -> None:
    """Raise `PrerequisiteError` unless `groups` can be built here; says everything that is missing at once."""
    if not groups:
        return
    missing: dict[str, str] = {}
    if any(isinstance(group, DebianGroup) for group in groups):
        missing |= _missing_for_debian()
    if any(isinstance(group, GoGroup) and group.cgo for group in groups):
        missing |= _missing_for_c()
    if missing:
        raise PrerequisiteError(
            f"building a bundle needs {', '.join(missing)}",
            f"sudo apt-get install {' '.join(dict.fromkeys(missing.values()))}",
        )
    _check_space(groups, go)


def _missing_for_debian() -> dict[str, str]:
    missing = {} if process.has("mmdebstrap") else {"mmdebstrap": "mmdebstrap"}
    if not _DEBIAN_KEYS.exists():
        missing["the keys of the Debian archive"] = "debian-archive-keyring"
    return missing


def _missing_for_c() -> dict[str, str]:
    missing = {
        name: package for name, package in (("gcc", "gcc"), ("pkg-config", "pkg-config")) if not process.has(name)
    }
    if "gcc" in missing:
        return {**missing, "libseccomp.a": "libseccomp-dev", "libc.a": "libc6-dev"}
    libraries = {"libseccomp.a": "libseccomp-dev", "libc.a": "libc6-dev"}
    return missing | {name: package for name, package in libraries.items() if not _has_library(name)}


def _has_library(name: str) -> bool:
    """Whether gcc finds the static library: only then does it answer with a path."""
    return Path(process.run(["gcc", f"-print-file-name={name}"]).stdout.strip()).is_absolute()


def _check_space(groups: Sequence[Group], go: Path) -> None:
    """The modules, Go's cache and the bundle may lie on different disks: each must have its share."""
    total = sum(group.about_s for group in groups)
    share = NEEDED_GB * min(1.0, total / 800 + 0.2)
    folders = process.run([go, "env", "GOMODCACHE", "GOCACHE"], env={"GOTOOLCHAIN": "local"}).stdout.split("\n")
    by_disk: dict[int, tuple[Path, int]] = {}
    for name in [*folders, str(paths.cache())]:
        if name and name != "off":
            place = _existing(Path(name))
            device = place.stat().st_dev
            by_disk[device] = (place, by_disk.get(device, (place, 0))[1] + 1)
    parts = sum(count for _, count in by_disk.values())
    for place, count in by_disk.values():
        needed, free = share * count / parts, shutil.disk_usage(place).free / 1e9
        if free < needed:
            raise PrerequisiteError(
                f"building a bundle needs about {needed:.1f} GB on the disk of {place}; {free:.1f} GB are free",
                "free some space, or move the caches with XDG_CACHE_HOME, GOCACHE and GOMODCACHE",
            )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
