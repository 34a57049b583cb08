"""Makes groups of programs and keeps each below `paths.builds()`, so that nothing is built twice.

A group is made in a folder of its own and renamed when it is complete: what bears the final name is whole, and a build
that was killed goes on with the group at which it was.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labctl import paths
from labctl.bundle import debian, golang
from labctl.bundle.golang import Go
from labctl.bundle.image import file_sha256
from labctl.bundle.recipe import DebianGroup, Group, Recipe, group_key
from labctl.events import Emit, Progress, Warned

_INDEX = "group.json"
_PARTIAL = ".partial"

Make = Callable[[Group, Path, Emit], None]


@dataclass(frozen=True)
class Built:
    """A finished group: its folder, and the SHA-256 of each file in it."""

    folder: Path
    sha256: dict[str, str]


def maker(go: Go, arch: str) -> Make:
    """The function that makes any group for real."""

    def make(group: Group, into: Path, emit: Emit) -> None:
        if isinstance(group, DebianGroup):
            debian.extract(group, arch, into, emit)
        else:
            golang.compile_group(go, group, arch, into, emit)

    return make


def folder_of(group: Group, recipe: Recipe, go_version: str) -> Path:
    """Where the finished group is kept."""
    return paths.builds() / f"{group.name}-{group_key(group, recipe.arch, go_version)}"


def absent(recipe: Recipe, go_version: str) -> list[Group]:
    """The groups that have still to be made, damaged ones included. Reads every file."""
    return [group for group in recipe.groups if _load(folder_of(group, recipe, go_version)) is None]


def make_all(recipe: Recipe, go_version: str, make: Make, emit: Emit) -> dict[str, Built]:
    """Every group of `recipe` by name, made now or before. Call it with the lock held."""
    shutil.rmtree(paths.builds() / _PARTIAL, ignore_errors=True)
    done = {}
    for number, group in enumerate(recipe.groups, start=1):
        folder = folder_of(group, recipe, go_version)
        built = _load(folder)
        if built is None:
            if folder.exists():
                emit(Warned(f"{folder} was changed since it was built; it is built again"))
                shutil.rmtree(folder)
            built = _make_one(group, folder, make, f"{number} of {len(recipe.groups)}", emit)
        done[group.name] = built
    return done


def _make_one(group: Group, folder: Path, make: Make, place: str, emit: Emit) -> Built:
    emit(Progress(f"{_verb(group)} ({place}, about {group.about_s} s)"))
    start = time.monotonic()
    partial_root = paths.builds() / _PARTIAL
    partial_root.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{group.name}-", dir=partial_root))
    try:
        make(group, partial, emit)
        _finish(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    emit(Progress(f"{group.title}: done in {time.monotonic() - start:.0f} s"))
    built = _load(folder)
    assert built is not None
    return built


def _verb(group: Group) -> str:
    return f"fetching {group.title}" if isinstance(group, DebianGroup) else f"building {group.title} {group.version}"


def _finish(folder: Path) -> None:
    """Make the files read-only (bundles hold hard links to them) and write their checksums."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            file.chmod(0o555 if os.access(file, os.X_OK) and "licences" not in file.parts else 0o444)
            sums[str(file.relative_to(folder))] = file_sha256(file)
    (folder / _INDEX).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    folder.chmod(0o755)


def _load(folder: Path) -> Built | None:
    """The finished group, or None if it is not there or a file is not as it was built."""
    try:
        sums: dict[str, str] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        is_whole = all(file_sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError):
        return None
    return Built(folder, sums) if is_whole else None
