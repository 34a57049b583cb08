"""What status says while a drill runs, and after it was cut off."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from labctl import paths, state, status, topology
from labctl.cli import main
from labctl.config import LabConfig
from labctl.drill.journal import Journal
from labctl.providers.base import Machine
from labctl.providers.container import ContainerProvider

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/status.json").read_text())


@pytest.fixture(autouse=True)
def _a_lab_in_a_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = LabConfig(name="two", workers=1, provider="podman")
    state.save(state.LabRecord(created=state.now(), config=config, bundle="/b"))
    machines = [
        Machine("two-cp-1", "control-plane", "10.203.0.10", "on"),
        Machine("two-worker-1", "worker", "10.203.0.20", "off"),
    ]
    monkeypatch.setattr(ContainerProvider, "machines", lambda _self: machines)
    planned = topology.plan(config, IPv4Network("10.203.0.0/24"))
    monkeypatch.setattr(ContainerProvider, "plan", lambda _self, _config: planned)
    monkeypatch.setattr(status, "_changed_behind_our_back", lambda *_: [])
    monkeypatch.setattr(status, "_readiness", lambda _: ({"two-cp-1": True, "two-worker-1": False}, []))
    journal = Journal(paths.LabPaths("two").journal, "two")
    journal.intend("worker-poweroff", "power-off", machine="two-worker-1")


def test_while_a_drill_runs_nothing_is_broken() -> None:
    with state.lock("two"):
        seen = status.look("two")
    assert seen.drill.startswith("worker-poweroff of ")
    assert "power-off of two-worker-1" in seen.drill
    assert seen.broken == []


def test_a_drill_that_was_cut_off_is_to_be_undone() -> None:
    seen = status.look("two")
    assert seen.drill == ""
    assert [sentence.rpartition(": ")[2] for sentence in seen.broken] == ["labctl recover --lab two"] * 2


def test_another_command_at_work_is_no_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drill was killed, and recover undoes it at this moment."""
    monkeypatch.setattr("labctl.process.is_alive", lambda _pid: False)
    with state.lock("two"):
        assert len(status.look("two").broken) == 2


def test_both_outputs_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    with state.lock("two"):
        assert main.run(["status", "--lab", "two"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert main.run(["status", "--lab", "two", "--output", "json"]) == 0
    assert "a drill is running now: worker-poweroff of" in text
    assert "broken" not in text
    said = json.loads(capsys.readouterr().out)
    Draft202012Validator(SCHEMA).validate(said)
    assert "two-worker-1" in said["drill"]
