"""worker-poweroff on a real lab, and a labctl that is killed in the middle of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.e2e.conftest import Cli

PATIENCE_S = 120
T = TypeVar("T")


@pytest.mark.parametrize("phase", ["gate", "baseline", "inject", "observe", "recovery"])
def test_recover_after_a_killed_labctl(lab: Cli, home: Path, phase: str) -> None:
    before = set(home.glob(f"runs/*-drill-{lab.lab}"))
    drill = subprocess.Popen(
        lab.argv("drill", "worker-poweroff"), env=lab.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        run = _await(lambda: next(iter(set(home.glob(f"runs/*-drill-{lab.lab}")) - before), None))
        _await(lambda: _started(run, phase))
        if phase == "inject":
            _await(lambda: any(node["power"] == "off" for node in lab.json("status")["nodes"]))
    finally:
        drill.kill()
        drill.wait()
    broken = lab.json("status")["broken"]
    assert any("labctl recover" in sentence for sentence in broken), broken
    recovered = lab.json("recover")
    assert recovered["leftovers"] == []
    assert bool(recovered["switched_on"]) == (phase in ("inject", "observe"))
    assert lab.json("status")["broken"] == []
    assert "labctl-drill" not in lab.kubectl("get", "namespaces", "-o", "name")
    assert lab.json("up", "--timing", "drill")["changed"] == 0
    assert lab.json("recover")["switched_on"] == [], "a second recover finds nothing to do"


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
