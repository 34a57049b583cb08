"""Every shipped drill on a real lab of the size that it needs: what it declares holds, and the lab is whole again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labctl.drill import Drill, drills
from tests.e2e.conftest import Cli, taken_down

pytestmark = pytest.mark.slow  # a minute each
ELSEWHERE = {"graceful-shutdown"}
"""test_drill.py has it: its lab has a setting of its own"""


def workers_for(drill: Drill) -> int:
    """How many workers the lab has on which it is tried."""
    if drill.needs.exactly:
        return drill.needs.workers
    return 2 if drill.needs.workers <= 2 else 4


@pytest.fixture(scope="module")
def lab_with(lab: Cli, home: Path) -> Iterator[Callable[[int], Cli]]:
    """The shared lab, or one with another number of workers: made when it is asked for, gone when yet another is."""
    made = {2: lab}
    with ExitStack() as stack:

        def find(workers: int) -> Cli:
            if workers not in made:
                stack.close()
                made.clear()
                made.update({2: lab, workers: Cli(f"w{workers}-{os.getpid()}", home, home)})
                stack.enter_context(taken_down(made[workers]))
                made[workers].json("up", "--timing", "drill", "--workers", str(workers))
            return made[workers]

        yield find


IN_ORDER = sorted(drills().values(), key=lambda drill: (workers_for(drill), drill.name))


@pytest.mark.parametrize("name", [drill.name for drill in IN_ORDER if drill.name not in ELSEWHERE])
def test_what_a_drill_declares_holds(lab_with: Callable[[int], Cli], name: str) -> None:
    cli = lab_with(workers_for(drills()[name]))
    reasons = {drill["name"]: drill["unsupported"] for drill in cli.json("drill", "--list")["drills"]}
    if reasons[name]:
        pytest.skip(f"unsupported here: {reasons[name]}")
    verdict = cli.json("drill", name, "--yes")
    stages = [(s["name"], s["subject"], s["predicted_s"], s["measured_s"], s["in_band"]) for s in verdict["stages"]]
    print(*stages, *verdict["findings"], sep="\n")
    assert verdict["verdict"] == "pass"
    status = cli.json("status")
    assert status["broken"] == []
    assert all(node["ready"] for node in status["nodes"])
