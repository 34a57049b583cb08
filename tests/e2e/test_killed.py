"""`labctl up` killed at any moment: the same command takes up where it stopped, and then nothing is left to do.

The moments come from a seed, so that a failure can be had again: LABCTL_TEST_SEED sets another one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Cli

SEED = os.environ.get("LABCTL_TEST_SEED", "1")
KILLS, QUICK = 30, 4
UP = ("up", "--workers", "1", "--timing", "drill")


@dataclass(frozen=True)
class Kill:
    """`line`: count from that line of progress (each step and task prints one), else from the start of the command."""

    signal: signal.Signals
    line: int
    seconds: float


def kill_of(number: int) -> Kill:
    """Half of the kills come uniformly over an `up`, the others just after a step or a task has begun."""
    chosen = random.Random(f"{SEED}-{number}")  # noqa: S311 (a seed that can be given again)
    kind = (signal.SIGINT, signal.SIGKILL)[number % 2]
    if number % 4 < 2:
        return Kill(kind, chosen.randint(1, 25), chosen.uniform(0.0, 0.3))
    return Kill(kind, 0, chosen.uniform(0.5, 30.0))


@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n < QUICK else pytest.mark.slow) for n in range(KILLS)])
def test_a_killed_up_is_taken_up_again(other: Cli, number: int) -> None:
    kill = kill_of(number)
    print(f"seed {SEED}, {kill}")
    code, said = killed_up(other, kill)
    print(said[-500:])
    assert "Traceback" not in said
    if kill.signal is signal.SIGINT:
        assert code in (0, 130, -signal.SIGINT), said
    result = other.json(*UP)
    assert [node["ready"] for node in result["nodes"]] == [True] * 2
    assert other.json(*UP)["changed"] == 0


def test_a_half_made_lab_goes_down_and_once_more(other: Cli) -> None:
    for number in (0, 1):
        killed_up(other, Kill(signal.SIGKILL, (8, 16)[number], 0.1))
        removed = other.json("down")["removed"]
        assert set(removed) <= {f"{other.lab}-cp-1", f"{other.lab}-worker-1"}
        assert other.containers() == []
        assert other.json("down")["removed"] == []


def killed_up(cli: Cli, kill: Kill) -> tuple[int, str]:
    """Run `up` and end it as `kill` says; its exit code and what it said.

    Ctrl-C reaches the terminal's whole process group; a kill -9 hits labctl alone, and its children live on.
    """
    progress = cli.cwd / f"killed-{cli.lab}.log"
    with progress.open("w") as stderr:
        up = subprocess.Popen(
            cli.argv(*UP),
            env=cli.env,
            cwd=cli.cwd,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    while up.poll() is None and len(progress.read_text().splitlines()) < kill.line:
        time.sleep(0.02)
    time.sleep(kill.seconds)  # the moment of the kill is the test's input, not a wait
    if up.poll() is None:
        if kill.signal is signal.SIGINT:
            os.killpg(up.pid, kill.signal)
        else:
            up.kill()
    return up.wait(), progress.read_text()
