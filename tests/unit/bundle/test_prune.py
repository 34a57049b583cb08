from __future__ import annotations

from pathlib import Path

import pytest

from labctl import paths
from labctl.bundle import Bundle, prune_cache, workshop
from labctl.bundle import prune as prune_module
from labctl.bundle.golang import Go
from labctl.bundle.recipe import Recipe
from labctl.errors import PrerequisiteError
from labctl.events import Event
from tests.unit.bundle.conftest import GO


@pytest.fixture(autouse=True)
def _known(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_module, "known_versions", lambda: [recipe.version])
    monkeypatch.setattr(prune_module, "ARCHES", ("amd64",))
    monkeypatch.setattr(prune_module, "recipe_for", lambda version, arch: recipe)
    monkeypatch.setattr(prune_module, "release_for", lambda version, arch: recipe)
    monkeypatch.setattr(prune_module, "find_go", lambda needed: Go(Path("/nowhere/go"), GO))


def old(name: str) -> Path:
    folder = paths.bundles() / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(1000))
    return folder


def test_what_is_used_and_what_is_current_stays(bundle: Bundle, recipe: Recipe, events: list[Event]) -> None:
    used, unused = old("0123456789abcdef"), old("fedcba9876543210")
    stale = paths.builds() / "tools-0000000000000000"
    stale.mkdir()
    paths.downloads().mkdir()
    (paths.downloads() / "part").write_bytes(bytes(500))
    done = prune_cache([used], events.append)
    assert set(done.removed) == {unused, stale, paths.downloads()}
    assert done.freed == 1500
    assert not any(folder.exists() for folder in done.removed)
    assert used.exists()
    assert bundle.verify() == []
    assert workshop.absent(recipe, GO) == []
    assert prune_cache([used], events.append).removed == ()


def test_a_file_with_another_name_elsewhere_frees_nothing(bundle: Bundle, events: list[Event]) -> None:
    unused = old("fedcba9876543210")
    (unused / "tool").hardlink_to(bundle.program("tool"))
    assert prune_cache([], events.append).freed == 1000


def test_without_a_go_no_build_is_called_stale(
    bundle: Bundle, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(needed: object) -> Go:
        raise PrerequisiteError("no Go")

    monkeypatch.setattr(prune_module, "find_go", none)
    assert prune_cache([], events.append).removed == ()


def test_nothing_cached(events: list[Event]) -> None:
    assert prune_cache([], events.append).removed == ()
