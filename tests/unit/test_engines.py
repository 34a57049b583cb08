from pathlib import Path

import pytest

from labctl import process, state
from labctl.config import LabConfig
from labctl.errors import PrerequisiteError
from labctl.paths import LabPaths
from labctl.providers import engines, preflight
from labctl.providers.base import Problem
from labctl.providers.engine import Engine


@pytest.fixture(autouse=True)
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The engines that do not work; both are installed, and on this host."""
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    names: set[str] = set()

    def problems(engine: Engine) -> list[Problem]:
        return [Problem("does not work", "mend it")] if engine.name in names else []

    monkeypatch.setattr(process, "has", lambda _program: True)
    monkeypatch.setattr(preflight, "elsewhere", lambda _engine: [])
    monkeypatch.setattr(preflight, "engine_problems", problems)
    return names


def _record(provider: str) -> None:
    config = LabConfig.model_validate({"name": "a", "provider": provider})
    state.save(state.LabRecord(created="now", config=config, bundle="/b"))


def test_auto_takes_the_first_that_works(broken: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.choose("a").name == "podman"
    broken.add("podman")
    assert engines.choose("a").name == "docker"
    broken.add("docker")
    assert engines.choose("a").name == "podman", "so that preflight says what is wrong with it"
    monkeypatch.setattr(process, "has", lambda program: program == "docker")
    assert engines.choose("a").name == "docker"


def test_a_lab_stays_in_the_engine_that_it_was_made_in(broken: set[str]) -> None:
    _record("docker")
    assert engines.choose("a").name == "docker"
    assert engines.choose("b").name == "podman"
    assert engines.choose("a", "podman").name == "podman", "refused later, as any change in place"


def test_no_engine_on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "elsewhere", lambda engine: [Problem("far away", "unset DOCKER_HOST")])
    with pytest.raises(PrerequisiteError, match="far away"):
        engines.choose("a", "docker")
    _record("docker")
    with pytest.raises(PrerequisiteError, match="far away"):
        engines.choose("a")


def test_down_looks_into_every_engine_that_works_and_never_past_the_recorded_one(broken: set[str]) -> None:
    def found() -> list[str]:
        return [engine.name for engine in engines.may_have("a")]

    assert found() == ["podman", "docker"], "the record may be lost"
    broken.add("docker")
    assert found() == ["podman"]
    _record("docker")
    assert found() == ["podman", "docker"], "its failure must end the command: machines would be forgotten"
    LabPaths("a").record.write_text("{")
    assert found() == ["podman"]
    broken.add("podman")
    broken.add("docker")
    with pytest.raises(PrerequisiteError):  # without an engine nobody knows whether there are machines
        found()


def test_what_is_not_installed_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "has", lambda _program: False)
    monkeypatch.setattr(preflight, "engine_problems", lambda _engine: pytest.fail("asked"))
    assert engines.choose("a").name == "podman"
