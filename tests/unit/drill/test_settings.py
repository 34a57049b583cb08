from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from labctl.drill.settings import duration_s, live_flags, parse_flags, settings
from labctl.errors import InconclusiveError

PROCESSES = (
    "/sbin/init\t\n"
    "sh\t-c\techo kube-controller-manager --node-monitor-period=9s\t\n"
    "/usr/local/bin/kube-controller-manager\t--node-monitor-period=1s\t--leader-elect\t--node-eviction-rate\t0.5\t-v=2\t\n"
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("50s", 50), ("1m30s", 90), ("500ms", 0.5), ("2s", 2), ("5m0s", 300), ("1h", 3600)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "50", "s", "5 s", "5x"])
def test_no_duration_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration_s(text)


def test_flags_are_those_of_the_program_itself() -> None:
    assert parse_flags(PROCESSES, "kube-controller-manager") == {
        "node-monitor-period": "1s",
        "leader-elect": "true",
        "node-eviction-rate": "0.5",
    }
    assert parse_flags(PROCESSES, "kube-apiserver") is None


def test_the_command_that_reads_the_processes_works_here() -> None:
    seen: list[tuple[str, Sequence[str]]] = []

    def run_on(machine: str, argv: Sequence[str]) -> str:
        seen.append((machine, argv))
        return subprocess.run(list(argv), capture_output=True, text=True, check=True).stdout

    sleeper = subprocess.Popen(["sleep", "--", "17"])
    try:
        with pytest.raises(InconclusiveError, match="runs on none of a, b"):
            live_flags(run_on, ["a", "b"], "no-such-program")
        assert live_flags(run_on, ["a"], "sleep") is not None
    finally:
        sleeper.kill()
        sleeper.wait()
    assert [machine for machine, _ in seen] == ["a", "b", "a"]


def test_the_first_control_plane_that_runs_it_is_asked() -> None:
    def run_on(machine: str, _: Sequence[str]) -> str:
        return PROCESSES if machine == "b" else "init\t\n"

    assert live_flags(run_on, ["a", "b"], "kube-controller-manager")["node-monitor-period"] == "1s"


@pytest.mark.parametrize(("version", "grace"), [("v1.31.9", 40), ("v1.32.0", 50), ("v1.37.2", 50)])
def test_absent_flags_have_the_versions_default(version: str, grace: float) -> None:
    found = settings(version, {}, {}, 300)
    assert (found.grace_s, found.monitor_s, found.renew_s, found.eviction_rate) == (grace, 5, 10, 0.1)
    assert found.sources["grace_s"] == f"default of {version}"


def test_live_values_win() -> None:
    flags = {"node-monitor-grace-period": "10s", "node-monitor-period": "1s"}
    found = settings("v1.37.2", flags, {"nodeLeaseDurationSeconds": 4}, 10)
    assert (found.grace_s, found.monitor_s, found.renew_s, found.toleration_s) == (10, 1, 1, 10)
    assert found.sources["grace_s"] == "--node-monitor-grace-period"
    assert found.sources["lease_s"] == "the kubelet"
