"""Where a bundle comes from: the cache, else a build from source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from labctl import paths
from labctl.bundle import prerequisites, workshop
from labctl.bundle.assemble import assemble, folder_of
from labctl.bundle.catalog import recipe_for
from labctl.bundle.golang import find_go
from labctl.bundle.model import Bundle, open_bundle
from labctl.bundle.recipe import Recipe
from labctl.errors import StateError
from labctl.events import Emit, Progress, Warned

_WAIT_S = 15
_COLD_S = 300  # with more than this to do, the user is told how long it takes


def find(version: str) -> Bundle | None:
    """The cached bundle of this recipe if all its files are there, else None. Neither network nor Go is needed."""
    return _cached(recipe_for(version))


def ensure(version: str, emit: Emit, *, rebuild: bool = False) -> Bundle:
    """The bundle of Kubernetes `version`: from the cache, else built.

    Groups of programs that were built before are not built again. `rebuild` puts the bundle together anew from them;
    a group is built anew if the Go toolchain is another one than before.
    """
    recipe = recipe_for(version)
    cached = None if rebuild else _cached(recipe)
    if cached:
        return cached
    with _locked(emit):
        cached = None if rebuild else _cached(recipe)
        return cached or _build(recipe, emit)


def check_prerequisites(version: str) -> None:
    """Raise `PrerequisiteError` if the bundle of `version` could not be built here: programs, libraries, space."""
    recipe = recipe_for(version)
    go = find_go(recipe.go_needed)
    prerequisites.check(workshop.absent(recipe, go.version), recipe.groups, go.path)


def _cached(recipe: Recipe) -> Bundle | None:
    folder = folder_of(recipe)
    if not folder.is_dir():
        return None
    try:
        bundle = open_bundle(folder)
    except StateError:
        return None
    return bundle if bundle.is_complete() else None


def _build(recipe: Recipe, emit: Emit) -> Bundle:
    go = find_go(recipe.go_needed)
    absent = workshop.absent(recipe, go.version)
    prerequisites.check(absent, recipe.groups, go.path)
    about_s = sum(group.about_s for group in absent)
    if about_s > _COLD_S:
        emit(
            Warned(
                f"Kubernetes {recipe.version} is built from source, once: about {about_s / 60:.0f} minutes on 2 cores; "
                "interrupt it if you like, the next run goes on"
            )
        )
    start = time.monotonic()
    built = workshop.make_all(recipe, go.version, workshop.maker(go, recipe.arch), emit)
    emit(Progress("putting the bundle together"))
    bundle = assemble(recipe, built, go.version)
    size = bundle.manifest.size / 1e6
    emit(Progress(f"the bundle is complete after {time.monotonic() - start:.0f} s: {size:.0f} MB in {bundle.path}"))
    return bundle


@contextmanager
def _locked(emit: Emit) -> Iterator[None]:
    """Only one labctl builds at a time; another one waits and says so."""
    paths.builds().mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.builds() / ".lock")
    start = time.monotonic()
    timeout_s = 0
    while not lock.is_locked:
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout:
            emit(Progress(f"another labctl builds a bundle; waiting for it, {time.monotonic() - start:.0f} s so far"))
        timeout_s = _WAIT_S
    try:
        yield
    finally:
        lock.release()
