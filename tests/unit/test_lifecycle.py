from __future__ import annotations

from pathlib import Path

import pytest

from labctl import lifecycle, paths, state
from labctl.config import LabConfig
from labctl.errors import StateError
from labctl.events import Event
from labctl.providers.base import Machine, Power


class Switches:
    """Stands for the provider: switches, and the order in which they were used."""

    def __init__(self, **powers: Power) -> None:
        self.powers = {name.replace("_", "-"): power for name, power in powers.items()}
        self.used: list[str] = []

    def __call__(self, _lab: str) -> Switches:
        return self

    def machines(self) -> list[Machine]:
        return [
            Machine(name, "control-plane" if "cp" in name else "worker", "10.0.0.1", power)
            for name, power in self.powers.items()
        ]

    def stop(self, machine: str) -> None:
        self.used.append(machine)
        self.powers[machine] = "off"

    def power_off(self, machine: str) -> None:
        raise AssertionError(machine)

    def power(self, machine: str) -> Power:
        return self.powers[machine]

    def power_on(self, machine: str) -> None:
        self.used.append(machine)
        self.powers[machine] = "on"


class Cluster:
    """Notes what was waited for."""

    waited: list[str]

    def __init__(self, _kubeconfig: Path, _patience: float) -> None:
        Cluster.waited = []

    def wait_kubelets(self, names: list[str], _timeout_s: float) -> None:
        self.waited += [f"kubelet {name}" for name in names]

    def wait_nodes_ready(self, names: list[str], _timeout_s: float) -> None:
        self.waited += names

    def wait_deployment(self, _namespace: str, name: str, _timeout_s: float) -> None:
        self.waited.append(name)


@pytest.fixture(autouse=True)
def _a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.setattr(lifecycle, "Kube", Cluster)
    state.save(state.LabRecord(created="now", config=LabConfig(workers=1), bundle="/b"))
    paths.LabPaths("lab").kubeconfig.touch()


def _with(monkeypatch: pytest.MonkeyPatch, **powers: Power) -> Switches:
    switches = Switches(**powers)
    monkeypatch.setattr(lifecycle, "provider_of", switches)
    return switches


def test_control_planes_are_stopped_last(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = _with(monkeypatch, lab_cp_1="on", lab_worker_1="on")
    seen: list[Event] = []
    assert lifecycle.stop("lab", seen.append) == ["lab-cp-1", "lab-worker-1"]
    assert switches.used == ["lab-worker-1", "lab-cp-1"]
    assert lifecycle.stop("lab", seen.append) == [], "a second stop finds nothing on"


def test_start_switches_on_what_is_off_and_waits_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = _with(monkeypatch, lab_cp_1="on", lab_worker_1="off")
    assert lifecycle.start("lab", lambda _: None) == ["lab-worker-1"]
    assert switches.used == ["lab-worker-1"]
    kubelets = ["kubelet lab-cp-1", "kubelet lab-worker-1"]
    assert Cluster.waited == [*kubelets, "lab-cp-1", "lab-worker-1", "coredns"]


def test_start_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = _with(monkeypatch, lab_cp_1="off")
    with pytest.raises(StateError, match="not whole"):
        lifecycle.start("lab", lambda _: None)
    assert switches.used == []
