"""Who comes back, who waits, who is lost: said without touching anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labctl.drill.forecast import Forecast, Prospect, forecast
from labctl.kube.objects import Taint
from tests.fakes import World, drill_lab


def of(world: World, folder: Path, victim: str = "lab-worker-1") -> Forecast:
    found = {item.victim: item for item in forecast(drill_lab(world, folder))}
    assert set(found) == {name for name in world.machines if "worker" in name}
    return found[victim]


def prospect(world: World, folder: Path, owner: str, toleration_s: float | None = 10) -> Prospect:
    pod = world.add_pod("default", "mine", "lab-worker-1", owner=owner)
    world.pods[pod.uid] = replace(pod, unreachable_s=toleration_s)
    (found,) = [item for item in of(world, folder).pods if item.pod == "default/mine"]
    return found


@pytest.mark.parametrize(
    ("owner", "fate"),
    [
        ("ReplicaSet", "comes back"),
        ("ReplicationController", "comes back"),
        ("Job", "comes back"),
        ("StatefulSet", "waits"),
        ("DaemonSet", "waits"),
        ("Node", "waits"),
        ("", "lost"),
        ("Workflow", "unknown"),
    ],
)
def test_its_owner_decides_a_pods_fate(tmp_path: Path, owner: str, fate: str) -> None:
    found = prospect(World.make(), tmp_path, owner)
    assert found.fate == fate
    assert (found.replaced is not None) is (fate == "comes back")
    assert (found.evicted is None) is (owner in ("Node", "DaemonSet"))


def test_a_pods_own_toleration_counts(tmp_path: Path) -> None:
    short, long = (prospect(World.make(), tmp_path, "ReplicaSet", seconds) for seconds in (0, 300))
    assert short.evicted
    assert long.evicted
    assert long.evicted.min_s == pytest.approx(short.evicted.min_s + 300)


def test_who_tolerates_for_ever_is_not_evicted(tmp_path: Path) -> None:
    found = prospect(World.make(), tmp_path, "ReplicaSet", None)
    assert (found.fate, found.evicted, found.replaced) == ("waits", None, None)
    assert "for ever" in found.why


def test_without_room_the_replacement_waits(tmp_path: Path) -> None:
    found = prospect(World.make(workers=1), tmp_path, "ReplicaSet")
    assert (found.fate, found.replaced) == ("waits", None)
    assert "no other node accepts pods" in found.why


def test_nothing_is_changed(tmp_path: Path) -> None:
    world = World.make()
    before = (dict(world.pods), dict(world.objects), dict(world.machines))
    forecast(drill_lab(world, tmp_path))
    assert (world.pods, world.objects, world.machines) == before
    assert not drill_lab(world, tmp_path).journal.exists()


def test_a_machine_that_is_no_node_is_left_out(tmp_path: Path) -> None:
    world = World.make()
    del world.nodes["lab-worker-2"]
    assert [item.victim for item in forecast(drill_lab(world, tmp_path))] == ["lab-worker-1"]


def test_a_cordoned_neighbour_gives_no_room(tmp_path: Path) -> None:
    world = World.make()
    world.nodes["lab-worker-2"] = replace(world.nodes["lab-worker-2"], taints=(Taint("mine", "NoSchedule"),))
    assert prospect(world, tmp_path, "ReplicaSet").fate == "waits"
