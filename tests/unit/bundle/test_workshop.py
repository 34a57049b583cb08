from __future__ import annotations

from pathlib import Path

import pytest

from labctl import paths
from labctl.bundle import assemble, workshop
from labctl.bundle.recipe import Group, Recipe
from labctl.events import Emit, Event, Progress, Warned
from tests.unit.bundle.conftest import GO, FakeCompiler


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.rglob(".partial*/*") if path.is_dir()]


def test_a_second_run_makes_nothing(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> None:
    first = workshop.make_all(recipe, GO, compiler, events.append)
    assert compiler.made == ["debian", "tools", "server"]
    assert workshop.absent(recipe, GO) == []
    events.clear()
    assert workshop.make_all(recipe, GO, compiler, events.append) == first
    assert compiler.made == ["debian", "tools", "server"]
    assert events == []


def test_an_interrupted_build_goes_on_where_it_was(
    recipe: Recipe, compiler: FakeCompiler, events: list[Event], cache: Path
) -> None:
    compiler.dies_at = "server"
    with pytest.raises(KeyboardInterrupt):
        workshop.make_all(recipe, GO, compiler, events.append)
    assert [group.name for group in workshop.absent(recipe, GO)] == ["server"]
    assert leftovers(cache) == []
    compiler.made.clear()
    compiler.dies_at = ""
    workshop.make_all(recipe, GO, compiler, events.append)
    assert compiler.made == ["server"]


def test_what_a_killed_build_left_is_removed_and_never_used(
    recipe: Recipe, compiler: FakeCompiler, events: list[Event], cache: Path
) -> None:
    left = paths.builds() / ".partial" / "server-abc"
    left.mkdir(parents=True)
    (left / "proxy").write_text("half", encoding="utf-8")
    built = workshop.make_all(recipe, GO, compiler, events.append)
    assert leftovers(cache) == []
    assert (built["server"].folder / "proxy").read_text(encoding="utf-8") == "proxy 1.2.3"


def test_a_group_gets_its_name_in_one_step(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> None:
    """It is renamed, not copied: a copy that is cut off would bear the name and be half."""
    folders: dict[str, int] = {}

    def make(group: Group, into: Path, emit: Emit) -> None:
        compiler(group, into, emit)
        folders[group.name] = into.stat().st_ino

    built = workshop.make_all(recipe, GO, make, events.append)
    assert {name: group.folder.stat().st_ino for name, group in built.items()} == folders


def test_a_changed_file_is_built_again(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> None:
    built = workshop.make_all(recipe, GO, compiler, events.append)
    tool = built["tools"].folder / "tool"
    tool.chmod(0o755)
    tool.write_text("virus", encoding="utf-8")
    compiler.made.clear()
    workshop.make_all(recipe, GO, compiler, events.append)
    assert compiler.made == ["tools"]
    assert tool.read_text(encoding="utf-8") == "tool 1.2.3"
    assert any(isinstance(event, Warned) and str(built["tools"].folder) in event.text for event in events)


def test_another_toolchain_builds_the_go_groups_anew(
    recipe: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    workshop.make_all(recipe, GO, compiler, events.append)
    compiler.made.clear()
    workshop.make_all(recipe, "go1.99.1", compiler, events.append)
    assert compiler.made == ["tools", "server"]


def test_progress_says_which_of_how_many(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> None:
    workshop.make_all(recipe, GO, compiler, events.append)
    texts = [event.text for event in events if isinstance(event, Progress)]
    assert "building Tools 1.2.3 (2 of 3, about 5 s)" in texts
    assert "Tools: done in 0 s" in texts


def test_built_files_are_read_only_and_take_disk_once(
    recipe: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    built = workshop.make_all(recipe, GO, compiler, events.append)
    bundle = assemble.assemble(recipe, built, GO)
    tool = bundle.program("tool")
    assert oct(tool.stat().st_mode & 0o777) == "0o555"
    assert tool.samefile(built["tools"].folder / "tool")


def test_assembling_replaces_a_damaged_bundle(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> None:
    built = workshop.make_all(recipe, GO, compiler, events.append)
    first = assemble.assemble(recipe, built, GO)
    (first.path / "bin/tool").unlink()
    (first.path / "stranger").touch()
    second = assemble.assemble(recipe, built, GO)
    assert second.path == first.path
    assert second.verify() == []
    assert second.key == first.key
    assert sorted(path.name for path in paths.bundles().iterdir()) == [recipe.hash]
