import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from labctl import paths, process, state
from labctl.config import LabConfig
from labctl.errors import UsageError
from labctl.process import Completed
from labctl.providers import engines, obstacles
from labctl.providers.base import Problem
from labctl.providers.engine import Container, Engine, Network

LABELS = {"labctl.lab": "lab", "labctl.home": "/h"}
NAMES = ("lab-cp-1", "lab-worker-1", "lab-worker-2")


class FakeEngine(Engine):
    """An engine with the lab's three machines on its network; a test changes something behind labctl's back."""

    def __init__(self) -> None:
        super().__init__()
        self.names = {name: name for name in NAMES}
        self.strangers: set[str] = set()
        self.nets = [Network("labctl-lab", (IPv4Network("10.203.0.0/24"),), LABELS, "podman7")]

    def networks(self, labels: dict[str, str] | None = None) -> list[Network]:
        return self.nets

    def containers(self, labels: dict[str, str] | list[str]) -> list[Container]:
        return [
            Container(name, {**LABELS, "labctl.machine": machine}, "running") for machine, name in self.names.items()
        ]

    def state(self, container: str) -> str:
        return "running" if container in {*self.names.values(), *self.strangers} else "missing"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Of a lab that is up, with all its files."""
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    routes(monkeypatch, {"dst": "10.203.0.0/24", "dev": "podman7"})
    monkeypatch.setattr(engines, "working", list)
    lab = paths.LabPaths("lab")
    for name in NAMES:
        (lab.machine(name) / "var").mkdir(parents=True)
    state.save(state.LabRecord(created=state.now(), config=LabConfig(), bundle="/b"))
    lab.ssh_key.touch()
    lab.kubeconfig.touch()
    return FakeEngine()


def routes(monkeypatch: pytest.MonkeyPatch, *found: dict[str, str]) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed((), 0, json.dumps(found), ""))


def check(engine: FakeEngine) -> list[Problem]:
    return obstacles.check(LabConfig(), engine, LABELS, "labctl-lab", engine.containers(LABELS))


def test_a_lab_that_is_as_labctl_left_it_has_no_obstacle(engine: FakeEngine) -> None:
    assert check(engine) == []


def test_a_lab_that_is_not_there_yet_has_none_either(engine: FakeEngine) -> None:
    state.forget("lab")
    engine.names, engine.nets = {}, []
    assert check(engine) == []


def test_a_worker_that_was_removed_is_none_for_up_makes_it_again(engine: FakeEngine) -> None:
    del engine.names["lab-worker-1"]
    assert check(engine) == []


def test_a_control_plane_that_was_removed_takes_the_cluster_with_it(engine: FakeEngine) -> None:
    del engine.names["lab-cp-1"]
    (problem,) = check(engine)
    assert "lab-cp-1 is gone" in problem.text
    assert problem.hint == "labctl down, then labctl up"
    paths.LabPaths("lab").kubeconfig.unlink()
    assert check(engine) == [], "an up that was cut off before there was a cluster goes on"


def test_a_renamed_machine_is_named_by_both_names(engine: FakeEngine) -> None:
    engine.names["lab-worker-1"] = "mine"
    (problem,) = check(engine)
    assert problem.text == "the machine lab-worker-1 was renamed to mine"
    assert problem.hint == "podman rename mine lab-worker-1"


def test_a_name_that_a_strangers_container_has_is_left_to_it(engine: FakeEngine) -> None:
    del engine.names["lab-worker-1"]
    engine.strangers.add("lab-worker-1")
    (problem,) = check(engine)
    assert "the name lab-worker-1 is taken" in problem.text


def test_a_network_of_this_name_that_is_not_the_labs_is_left_alone(engine: FakeEngine) -> None:
    engine.nets = [replace(engine.nets[0], labels={"labctl.lab": "lab", "labctl.home": "/another"})]
    (problem,) = check(engine)
    assert "labctl-lab is there, but is not this lab's" in problem.text


@pytest.mark.parametrize("lost", ["folder", "key", "record"])
def test_machines_without_their_state_folder_are_lost(engine: FakeEngine, lost: str) -> None:
    lab = paths.LabPaths("lab")
    if lost == "folder":
        state.forget("lab")
    else:
        (lab.ssh_key if lost == "key" else lab.record).unlink()
    (problem,) = check(engine)
    assert "keys and disks is gone" in problem.text
    assert "labctl down" in problem.hint


def test_a_machine_without_its_disk_is_lost(engine: FakeEngine) -> None:
    (paths.LabPaths("lab").machine("lab-worker-2") / "var").rmdir()
    (problem,) = check(engine)
    assert "the disk of lab-worker-2 is gone" in problem.text


def test_a_vpn_that_took_the_labs_network_later_is_named(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, {"dst": "10.0.0.0/8", "dev": "tun0"}, {"dst": "10.203.0.0/24", "dev": "podman7"})
    assert check(engine) == [], "the machines' own network is narrower, and wins"
    routes(monkeypatch, {"dst": "10.203.0.0/25", "dev": "tun0"}, {"dst": "10.203.0.0/24", "dev": "podman7"})
    with pytest.raises(UsageError, match=r"routed to tun0 by now \(a VPN\?\): 10\.203\.0\.0/25"):
        check(engine)
