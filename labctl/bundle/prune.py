"""Removes from the cache what nothing needs any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl import paths
from labctl.bundle import workshop
from labctl.bundle.assemble import folder_of
from labctl.bundle.catalog import known_versions, recipe_for, release_for
from labctl.bundle.golang import find_go
from labctl.bundle.recipe import ARCHES, Recipe
from labctl.errors import PrerequisiteError


@dataclass(frozen=True)
class Pruned:
    """What was removed, and the bytes that became free."""

    removed: tuple[Path, ...]
    freed: int


def prune(used: Iterable[Path]) -> Pruned:
    """Remove what nothing needs. Call it with the lock held.

    Bundles stay that are in `used` or that this labctl would make of a version that it knows, and the builds for them.
    """
    recipes = [recipe_for(version, arch) for version in known_versions() for arch in ARCHES]
    keep = {folder.resolve() for folder in used}
    keep |= {folder_of(recipe.hash).resolve() for recipe in recipes}
    keep |= {folder_of(release_for(recipe.version, recipe.arch).hash).resolve() for recipe in recipes}
    doomed = [folder for folder in _folders(paths.bundles()) if folder.resolve() not in keep]
    doomed += _stale_builds(recipes)
    if paths.downloads().is_dir():
        doomed.append(paths.downloads())
    freed = _freed_by(doomed)
    for folder in doomed:
        shutil.rmtree(folder)
    return Pruned(tuple(doomed), freed)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("[!.]*") if path.is_dir())


def _stale_builds(recipes: Iterable[Recipe]) -> list[Path]:
    """Groups that none of `recipes` asks for, with the Go that is here; without a Go nothing is called stale."""
    wanted = set()
    try:
        for recipe in recipes:
            go = find_go(recipe.go_needed)
            wanted |= {workshop.folder_of(group, recipe, go.version) for group in recipe.groups}
    except PrerequisiteError:
        return []
    return [folder for folder in _folders(paths.builds()) if folder not in wanted]


def _freed_by(doomed: Iterable[Path]) -> int:
    """Bytes that removing `doomed` frees: a file with a hard link elsewhere stays."""
    links: dict[int, list[int]] = {}
    for stat in _stats(doomed):
        links.setdefault(stat.st_ino, [stat.st_nlink, 0, stat.st_size])[1] += 1
    return sum(size for names, removed, size in links.values() if removed == names)


def _stats(folders: Iterable[Path]) -> Iterator[os.stat_result]:
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                yield file.stat()
