"""Drills on a real lab, and a labctl that is killed in the middle of each."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from labctl.drill import drills
from labctl.drill.runner import PHASES
from tests.e2e.conftest import Cli

PATIENCE_S = 120
T = TypeVar("T")


SLOW = pytest.mark.slow
EACH = [pytest.param(name, marks=[] if name == "worker-poweroff" else SLOW) for name in drills()]
HIT = ("inject", "observe")
"""Phases in which the fault is there when labctl is killed."""


def test_a_kubelet_stops_and_its_pods_serve_on(lab: Cli) -> None:
    verdict = lab.json("drill", "kubelet-stop")
    assert verdict["verdict"] == "pass", verdict
    stages = {stage["name"]: stage for stage in verdict["stages"]}
    assert stages["service_restored"]["measured_s"] == 0
    assert stages["not_ready"]["measured_s"] < stages["evicted"]["measured_s"] < stages["replaced"]["measured_s"]
    timers = lab("ssh", verdict["victim"], "--", "systemctl", "list-units", "--all", "labctl-undo-*")
    assert "labctl-undo" not in timers
    assert lab.json("up", "--timing", "drill")["changed"] == 0


@pytest.mark.slow  # a lab of its own: a kubelet knows how long a shutdown waits from its beginning
def test_a_machine_shuts_down_when_its_pods_have_ended(other: Cli) -> None:
    file = other.home / "graceful.yml"
    file.write_text("timing: drill\nshutdown_grace_s: 20\n")
    other("up", "--config", str(file))
    verdict = other.json("drill", "graceful-shutdown")
    assert verdict["verdict"] == "pass", verdict
    assert {stage["name"]: stage["in_band"] for stage in verdict["stages"]}["evicted"]
    assert other.json("up", "--config", str(file))["changed"] == 0


@pytest.mark.slow  # the machine waits until labctl would have healed for sure: a minute and a half
def test_a_machine_starts_its_kubelet_without_labctl(lab: Cli, home: Path) -> None:
    _killed(lab, home, "kubelet-stop", "observe")
    stopped = [node["name"] for node in lab.json("status")["nodes"] if not _runs_kubelet(lab, node["name"])]
    assert len(stopped) == 1
    _await(lambda: _runs_kubelet(lab, stopped[0]))
    assert lab.json("recover")["undone"] == []


@pytest.fixture(scope="module")
def unsupported(lab: Cli) -> dict[str, str]:
    """Why this lab cannot have a drill, by the drill's name; nothing if it can."""
    return {drill["name"]: drill["unsupported"] for drill in lab.json("drill", "--list")["drills"]}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", EACH)
def test_recover_after_a_killed_labctl(
    lab: Cli, home: Path, name: str, phase: str, unsupported: dict[str, str]
) -> None:
    if unsupported[name]:
        pytest.skip(f"unsupported here: {unsupported[name]}")
    _killed(lab, home, name, phase)
    broken = lab.json("status")["broken"]
    assert any("labctl recover" in sentence for sentence in broken), broken
    recovered = lab.json("recover")
    assert recovered["leftovers"] == []
    undone = recovered["switched_on"] + recovered["undone"]
    if name == "worker-poweroff" and phase not in ("heal", "recovery"):  # those may have undone it before the kill came
        assert bool(undone) == (phase in HIT)
    assert lab.json("status")["broken"] == []
    assert "labctl-drill" not in lab.kubectl("get", "namespaces", "-o", "name")
    assert lab.json("up", "--timing", "drill")["changed"] == 0
    again = lab.json("recover")
    assert again["switched_on"] + again["undone"] == [], "a second recover finds nothing to do"


def _killed(lab: Cli, home: Path, name: str, phase: str) -> None:
    """Run a drill and kill labctl in that phase; in `inject` when the fault was carried out."""
    before = set(home.glob(f"runs/*-drill-{lab.lab}"))
    drill = subprocess.Popen(
        lab.argv("drill", name, "--yes"), env=lab.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        run = _await(lambda: next(iter(set(home.glob(f"runs/*-drill-{lab.lab}")) - before), None))
        _await(lambda: _started(run, phase))
        if phase == "inject":
            _await(lambda: '"step":"call"' in (run / "history.jsonl").read_text())
            if name in ("worker-poweroff", "kubelet-stop"):
                _await(lambda: _is_hit(lab, _victim(run)))
    finally:
        drill.kill()
        drill.wait()


def _victim(run: Path) -> str:
    return str(json.loads((run / "plan.json").read_text())["scene"]["victims"][0]["name"])


def _is_hit(lab: Cli, victim: str) -> bool:
    power = {node["name"]: node["power"] for node in lab.json("status")["nodes"]}
    return power[victim] == "off" or not _runs_kubelet(lab, victim)


def _runs_kubelet(lab: Cli, machine: str) -> bool:
    argv = ["exec", machine, "systemctl", "is-active", "kubelet"]
    return subprocess.run([lab.engine, *argv], capture_output=True, text=True, check=False).stdout.strip() == "active"


def _started(run: Path, phase: str) -> bool:
    events = run / "events.jsonl"
    lines = events.read_text().splitlines() if events.exists() else []
    steps = [json.loads(line) for line in lines if line.endswith("}")]
    return any(step["event"] == "StepStarted" and step["step"] == phase for step in steps)


def _await(look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not seen within {PATIENCE_S} s")
