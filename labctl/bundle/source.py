"""Where a bundle comes from: the cache, upstream's releases, a build from source, or a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from labctl import paths
from labctl.bundle import archive, prerequisites, rules, workshop
from labctl.bundle.assemble import assemble, folder_of
from labctl.bundle.catalog import recipe_for, release_for
from labctl.bundle.download import Plan, Upstream
from labctl.bundle.fetch import Fetcher
from labctl.bundle.golang import find_go
from labctl.bundle.model import Bundle, Manifest, open_bundle
from labctl.bundle.prune import Pruned, prune
from labctl.bundle.recipe import Recipe, host_arch
from labctl.config_bundle import BundleSource
from labctl.errors import LabError, PrerequisiteError, StateError, UsageError
from labctl.events import Emit, Progress, Warned

_WAIT_S = 15
_COLD_S = 300  # with more than this to do, the user is told how long it takes
_AUTO = BundleSource()


def find(version: str, wanted: BundleSource = _AUTO, arch: str = "") -> Bundle | None:
    """The cached bundle that `wanted` asks for if all its files are there, else None. Needs neither network nor Go."""
    return next((bundle for bundle in _cached(version, wanted, arch) if bundle.is_complete()), None)


def ensure(version: str, emit: Emit, wanted: BundleSource = _AUTO, *, arch: str = "", again: bool = False) -> Bundle:
    """The bundle of Kubernetes `version` from where `wanted` says; `auto` is the cache, a download, a build.

    What was fetched or built before is not fetched or built again. `again` puts the bundle together anew from that:
    it heals a damaged one.
    """
    cached = None if again else find(version, wanted, arch)
    if cached:
        return cached
    with _locked(emit):
        cached = None if again else find(version, wanted, arch)
        return cached or _make(version, emit, wanted, arch)


def ensure_whole(version: str, emit: Emit, wanted: BundleSource, arch: str = "") -> Bundle:
    """As `ensure`, but every checksum of a cached bundle is compared; what is wrong is named and mended."""
    cached = next(_cached(version, wanted, arch), None)
    problems = cached.verify() if cached else []
    for problem in problems:
        emit(Warned(f"{problem}; it is made again"))
    return ensure(version, emit, wanted, arch=arch, again=bool(problems))


def import_file(file: Path, emit: Emit) -> Bundle:
    """Bring the bundle in `file`, of any version and architecture, into the cache."""
    with _locked(emit):
        return archive.unpack(file, emit)


def prune_cache(used: Iterable[Path], emit: Emit) -> Pruned:
    """Remove from the cache what neither the bundles in `used` nor the recipes of this labctl need."""
    with _locked(emit):
        return prune(used)


def check_prerequisites(version: str) -> None:
    """Raise `PrerequisiteError` if the bundle of `version` could not be built here: programs, libraries, space."""
    recipe = recipe_for(version)
    go = find_go(recipe.go_needed)
    prerequisites.check(workshop.absent(recipe, go.version), recipe, go.path)


def _cached(version: str, wanted: BundleSource, arch: str) -> Iterator[Bundle]:
    """The bundles in the cache that are what `wanted` asks for, the best first; files may be missing from them."""
    if wanted.source == "file":
        assert wanted.file is not None
        manifest = archive.peek(Path(wanted.file))
        _fits(manifest, version, arch, wanted.file)
        names = iter([manifest.recipe])
    else:
        manifest, names = None, _names(version, wanted, arch)
    for name in names:
        with suppress(StateError):
            bundle = open_bundle(folder_of(name))
            if manifest is None or bundle.key == manifest.key:
                yield bundle


def _names(version: str, wanted: BundleSource, arch: str) -> Iterator[str]:
    """The names of the folders that hold what `wanted` asks for, the best first."""
    if wanted.source in ("auto", "build"):
        try:
            yield recipe_for(version, arch).hash
        except UsageError:
            if wanted.source == "build":
                raise
    if wanted.source in ("auto", "download"):
        yield release_for(version, arch, wanted.versions).hash


def _make(version: str, emit: Emit, wanted: BundleSource, arch: str) -> Bundle:
    match wanted.source:
        case "file":
            assert wanted.file is not None
            return archive.unpack(Path(wanted.file), emit)
        case "build":
            return _build(recipe_for(version, arch), emit)
        case "download":
            upstream, plan = _plan(version, emit, wanted, arch)
            return upstream.make(plan)
    return _first_that_can_work(version, emit, wanted, arch)


def _first_that_can_work(version: str, emit: Emit, wanted: BundleSource, arch: str) -> Bundle:
    """Put together what was built before, else download, else build; says which and why."""
    if _is_built(version, arch):
        return _build(recipe_for(version, arch), emit)
    emit(Progress("there is no bundle in the cache: looking whether it can be downloaded"))
    try:
        upstream, plan = _plan(version, emit, wanted, arch)
    except UsageError:
        raise
    except LabError as error:
        reason = error.message
    else:
        emit(Progress("it can: upstream has all of it (bundle: {source: build} builds it instead)"))
        return upstream.make(plan)
    emit(Warned(f"it cannot be downloaded here: {reason}. It is built from source instead"))
    try:
        return _build(recipe_for(version, arch), emit)
    except (PrerequisiteError, UsageError) as error:
        raise PrerequisiteError(
            f"there is no way to a bundle of Kubernetes {version} here\n  download: {reason}\n  build: {error.message}",
            f"{error.hint}; or bring a bundle from another machine: labctl bundle export there, import here",
        ) from error


def _plan(version: str, emit: Emit, wanted: BundleSource, arch: str) -> tuple[Upstream, Plan]:
    upstream = Upstream(wanted.mirrors, Fetcher(emit), emit)
    return upstream, upstream.plan(release_for(version, arch, wanted.versions))


def _is_built(version: str, arch: str) -> bool:
    """Whether each group of programs was built before, so that nothing has to be fetched."""
    try:
        recipe = recipe_for(version, arch)
        return not workshop.absent(recipe, find_go(recipe.go_needed).version)
    except (PrerequisiteError, UsageError):
        return False


def _fits(manifest: Manifest, version: str, arch: str, file: str) -> None:
    """Raise `UsageError` if the bundle in `file` is not for this version and architecture."""
    rules.check({"kubernetes": manifest.kubernetes, **manifest.components})
    wanted = arch or host_arch()
    if manifest.arch != wanted:
        raise UsageError(f"{file} is for {manifest.arch} machines, not for {wanted}")
    if manifest.kubernetes != version:
        raise UsageError(
            f"{file} holds Kubernetes {manifest.kubernetes}, not {version}", f"kubernetes: {manifest.kubernetes}"
        )


def _build(recipe: Recipe, emit: Emit) -> Bundle:
    go = find_go(recipe.go_needed)
    absent = workshop.absent(recipe, go.version)
    prerequisites.check(absent, recipe, go.path)
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
    """Only one labctl changes the cache at a time; another one waits and says so."""
    paths.builds().mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.builds() / ".lock")
    start = time.monotonic()
    timeout_s = 0
    while not lock.is_locked:
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout:
            emit(Progress(f"another labctl makes a bundle; waiting for it, {time.monotonic() - start:.0f} s so far"))
        timeout_s = _WAIT_S
    try:
        yield
    finally:
        lock.release()
