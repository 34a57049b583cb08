from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from labctl import paths
from labctl.bundle import assemble, ensure, find, prerequisites, source, workshop
from labctl.bundle.golang import Go
from labctl.bundle.recipe import Recipe
from labctl.config_bundle import BundleSource
from labctl.errors import PrerequisiteError, UsageError
from labctl.events import Event, Progress, Warned
from tests.unit.bundle.conftest import GO, FakeCompiler

BUILD = BundleSource(source="build")


@pytest.fixture(autouse=True)
def _fake(recipe: Recipe, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(source, "recipe_for", lambda version, arch="": recipe)
    monkeypatch.setattr(source, "find_go", lambda needed: Go(Path("/nowhere/go"), GO))
    monkeypatch.setattr(workshop, "maker", lambda go, arch: compiler)
    monkeypatch.setattr(prerequisites, "check", lambda absent, groups, go: None)
    return iter(())


def test_nothing_is_found_before_the_first_build() -> None:
    assert find("9.9.9", BUILD) is None


def test_ensure_builds_and_find_finds(compiler: FakeCompiler, events: list[Event], recipe: Recipe) -> None:
    built = ensure("9.9.9", events.append, BUILD)
    assert find("9.9.9", BUILD) == built
    assert built.verify() == []
    assert built.path == paths.bundles() / recipe.hash
    compiler.made.clear()
    assert ensure("9.9.9", events.append, BUILD) == built
    assert compiler.made == []


def test_an_incomplete_bundle_is_put_together_again(compiler: FakeCompiler, events: list[Event]) -> None:
    built = ensure("9.9.9", events.append, BUILD)
    (built.path / "images/proxy.tar").unlink()
    assert find("9.9.9", BUILD) is None
    compiler.made.clear()
    assert ensure("9.9.9", events.append, BUILD).verify() == []
    assert compiler.made == []


def test_a_bundle_with_a_torn_manifest_is_put_together_again(events: list[Event]) -> None:
    built = ensure("9.9.9", events.append, BUILD)
    (built.path / "manifest.json").write_text("{", encoding="utf-8")
    assert find("9.9.9", BUILD) is None
    assert ensure("9.9.9", events.append, BUILD).verify() == []


def test_rebuild_heals_what_find_does_not_read(events: list[Event]) -> None:
    built = ensure("9.9.9", events.append, BUILD)
    tool = built.program("tool")
    tool.chmod(0o755)
    tool.write_text("tool 6.6.6", encoding="utf-8")
    assert ensure("9.9.9", events.append, BUILD).verify() == ["wrong checksum: bin/tool"]
    assert ensure("9.9.9", events.append, BUILD, again=True).verify() == []


def test_a_long_build_is_announced(events: list[Event], recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(recipe, go_groups=tuple(replace(group, about_s=300) for group in recipe.go_groups))
    monkeypatch.setattr(source, "recipe_for", lambda version, arch="": slow)
    ensure("9.9.9", events.append, BUILD)
    assert isinstance(events[0], Warned)
    assert "about 10 minutes" in events[0].text


def test_prerequisites_come_before_any_work(compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PrerequisiteError("no gcc")

    monkeypatch.setattr(prerequisites, "check", refuse)
    with pytest.raises(PrerequisiteError):
        ensure("9.9.9", lambda event: None, BUILD)
    assert compiler.made == []


def test_a_second_labctl_waits_and_takes_what_the_first_built(
    recipe: Recipe, compiler: FakeCompiler, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_WAIT_S", 0.01)
    paths.builds().mkdir(parents=True)
    first = FileLock(paths.builds() / ".lock")
    first.acquire()
    waited, release = threading.Event(), threading.Event()

    def emit(event: Event) -> None:
        events.append(event)
        waited.set()

    def run() -> None:
        ensure("9.9.9", emit, BUILD)
        release.set()

    second = threading.Thread(target=run)
    second.start()
    assert waited.wait(3)
    assert compiler.made == []
    built = workshop.make_all(recipe, GO, compiler, lambda event: None)
    manifest = assemble.assemble(recipe, built, GO).path / "manifest.json"
    before = manifest.stat().st_ino
    first.release()
    second.join(3)
    assert release.is_set()
    assert manifest.stat().st_ino == before
    assert compiler.made == ["debian", "tools", "server"]
    assert isinstance(events[0], Progress)
    assert "another labctl makes" in events[0].text


def test_a_finished_bundle_is_there_while_another_labctl_builds(events: list[Event]) -> None:
    built = ensure("9.9.9", events.append, BUILD)

    def refuse(event: Event) -> None:
        raise AssertionError(event)

    with FileLock(paths.builds() / ".lock"):
        assert ensure("9.9.9", refuse, BUILD) == built


def test_an_unknown_version_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(UsageError):
        find("0.1.2")
