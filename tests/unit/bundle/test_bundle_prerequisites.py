from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labctl import bundle, process
from labctl.bundle import prerequisites, source, workshop
from labctl.bundle.golang import Go
from labctl.bundle.recipe import TRIPLETS, Recipe, host_arch
from labctl.config_bundle import BundleSource
from labctl.errors import PrerequisiteError
from labctl.events import Event
from tests.unit.bundle.conftest import GO, FakeCompiler

BUILD = BundleSource(source="build")


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What this machine is said to lack; at first nothing."""
    lacks: set[str] = set()
    keys = tmp_path / "keys.gpg"
    keys.touch()
    monkeypatch.setattr(process, "has", lambda name: name not in lacks)
    monkeypatch.setattr(prerequisites, "_has_library", lambda gcc, name: name not in lacks)
    monkeypatch.setattr(prerequisites, "_DEBIAN_KEYS", keys)
    monkeypatch.setattr(prerequisites, "_check_space", lambda absent, groups, go: None)
    return lacks


@pytest.fixture
def with_c(recipe: Recipe, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose last group needs a C compiler, made by the fake compiler."""
    first, last = recipe.go_groups
    changed = replace(recipe, go_groups=(first, replace(last, cgo=True)))
    monkeypatch.setattr(source, "recipe_for", lambda version, arch="": changed)
    monkeypatch.setattr(source, "find_go", lambda needed: Go(Path("/nowhere/go"), GO))
    monkeypatch.setattr(workshop, "maker", lambda go, arch: compiler)
    return changed


@pytest.mark.parametrize(
    ("lack", "install"),
    [
        ("mmdebstrap", "mmdebstrap"),
        ("gcc", "gcc libseccomp-dev libc6-dev"),
        ("pkg-config", "pkg-config"),
        ("libseccomp.a", "libseccomp-dev"),
        ("libc.a", "libc6-dev"),
    ],
)
def test_what_is_missing_is_said_before_the_first_group(
    lack: str, install: str, missing: set[str], with_c: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    missing.add(lack)
    with pytest.raises(PrerequisiteError, match=f"building a bundle needs {lack}") as caught:
        bundle.ensure("9.9.9", events.append, BUILD)
    assert caught.value.hint == f"sudo apt-get install {install}"
    assert caught.value.exit_code == 4
    assert (compiler.made, events) == ([], [])


def test_another_architecture_needs_its_compiler(missing: set[str], with_c: Recipe) -> None:
    other = replace(with_c, arch="arm64" if host_arch() == "amd64" else "amd64")
    prerequisites.check(other.groups, other, Path("go"))
    triplet = TRIPLETS[other.arch]
    missing |= {f"{triplet}-gcc", "libseccomp.a"}
    with pytest.raises(PrerequisiteError, match=f"{triplet}-gcc") as caught:
        prerequisites.check(other.groups, other, Path("go"))
    assert caught.value.hint.startswith(f"sudo dpkg --add-architecture {other.arch} && sudo apt-get update && ")
    assert f"libseccomp-dev:{other.arch} libc6-dev-{other.arch}-cross" in caught.value.hint


def test_the_keys_of_the_archive_are_asked_for(missing: set[str], with_c: Recipe) -> None:
    prerequisites._DEBIAN_KEYS.unlink()
    with pytest.raises(PrerequisiteError, match="the keys of the Debian archive") as caught:
        bundle.check_prerequisites("9.9.9")
    assert caught.value.hint == "sudo apt-get install debian-archive-keyring"


def test_a_machine_that_has_all_may_build(
    missing: set[str], with_c: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    bundle.check_prerequisites("9.9.9")
    assert bundle.ensure("9.9.9", events.append, BUILD).verify() == []
    assert compiler.made == ["debian", "tools", "server"]


def test_only_what_is_still_to_be_built_asks_for_programs(
    missing: set[str], with_c: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    compiler.dies_at = "server"
    with pytest.raises(KeyboardInterrupt):
        bundle.ensure("9.9.9", events.append, BUILD)
    compiler.dies_at = ""
    missing.add("mmdebstrap")
    bundle.check_prerequisites("9.9.9")
    missing.add("gcc")
    with pytest.raises(PrerequisiteError, match="needs gcc"):
        bundle.check_prerequisites("9.9.9")
    missing.remove("gcc")
    compiler.made.clear()
    bundle.ensure("9.9.9", events.append, BUILD)
    assert compiler.made == ["server"]


def test_a_finished_bundle_asks_for_nothing(
    missing: set[str], with_c: Recipe, compiler: FakeCompiler, events: list[Event]
) -> None:
    made = bundle.ensure("9.9.9", events.append, BUILD)
    missing.update({"mmdebstrap", "gcc", "pkg-config", "libc.a", "libseccomp.a"})
    assert bundle.ensure("9.9.9", events.append, BUILD) == made
    bundle.check_prerequisites("9.9.9")


def test_only_linux_builds(with_c: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(PrerequisiteError, match="built on Linux only"):
        prerequisites.check(with_c.groups, with_c, Path("go"))
    prerequisites.check([], with_c, Path("go"))
