"""Recovery by itself: looks at the world first, verifies, and lists what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.drill import DrillLab, broken, recover
from labctl.drill.journal import Journal
from labctl.errors import LabError
from labctl.events import Event
from labctl.kube.objects import UNREACHABLE, Taint
from tests.fakes import FakeCluster, FakePower, World, drill_lab


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def world() -> World:
    return World.make()


@pytest.fixture
def lab(world: World, tmp_path: Path) -> DrillLab:
    return drill_lab(world, tmp_path)


def test_a_whole_lab_stays_as_it_is(world: World, lab: DrillLab) -> None:
    before = world.clock.now()
    done = recover(lab, ignore)
    assert (done.switched_on, done.restored, done.leftovers) == ((), (), ())
    assert world.clock.now() == before, "nothing to wait for"


def test_a_lab_that_fails_a_check_is_not_whole_and_its_drill_not_undone(world: World, lab: DrillLab) -> None:
    Journal(lab.journal).intend("worker-poweroff", "power-off", machine="lab-worker-2")
    world.failing_checks = ["NODE-001 containerd runs (lab-worker-2): inactive; expected active"]
    assert recover(lab, ignore).leftovers == tuple(world.failing_checks)
    assert Journal(lab.journal).open_intents() != []
    world.failing_checks = []
    assert recover(lab, ignore).leftovers == ()
    assert Journal(lab.journal).open_intents() == []


def test_the_world_is_looked_at_even_if_the_journal_knows_nothing(world: World, lab: DrillLab) -> None:
    FakePower(world).power_off("lab-worker-2")
    assert broken(lab.journal, world.machines.values()) == ["lab-worker-2 is off: labctl recover"]
    assert recover(lab, ignore).switched_on == ("lab-worker-2",)
    assert world.alive["lab-worker-2"]


def test_a_node_that_the_api_still_calls_ready_must_answer_itself(world: World, lab: DrillLab) -> None:
    FakePower(world).power_off("lab-worker-2")
    start = world.clock.now()
    assert world.nodes["lab-worker-2"].ready, "within the grace period"
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= world.returned_s


def test_a_machine_that_was_switched_on_before_the_kill_is_waited_for_too(world: World, lab: DrillLab) -> None:
    Journal(lab.journal).intend("worker-poweroff", "power-off", machine="lab-worker-2")
    power = FakePower(world)
    power.power_off("lab-worker-2")
    power.power_on("lab-worker-2")
    start = world.clock.now()
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= world.returned_s
    assert Journal(lab.journal).open_intents() == []


def test_a_pod_is_put_back_after_the_old_one_is_gone(world: World, lab: DrillLab) -> None:
    Journal(lab.journal).intend("worker-poweroff", "power-off", restore=("default/hello-world",))
    old = world.add_pod("default", "hello-world", "lab-worker-1")
    world.change_pod(old.uid, deletion_timestamp="now")
    world.clock.after(5, lambda: world.drop_pod(old.uid))
    done = recover(lab, ignore)
    assert (done.restored, done.leftovers) == (("default/hello-world",), ())
    assert [p.uid != old.uid for p in world.pods.values() if p.name == "hello-world"] == [True]


def test_a_node_that_is_ready_and_still_tainted_is_not_whole(world: World, lab: DrillLab) -> None:
    world.change_node("lab-worker-1", taints=(Taint(UNREACHABLE, "NoExecute"),))
    world.clock.after(3, lambda: world.change_node("lab-worker-1", taints=()))
    start = world.clock.now()
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= 3


def test_a_node_whose_network_does_not_run_yet_is_not_whole(world: World, lab: DrillLab) -> None:
    proxy = world.add_pod("kube-system", "kube-proxy-1", "lab-worker-1", owner="DaemonSet")
    world.change_pod(proxy.uid, ready=False)
    world.clock.after(3, lambda: world.change_pod(proxy.uid, ready=True))
    start = world.clock.now()
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= 3


def gone(world: World) -> None:
    world.machines["lab-worker-2"] = replace(world.machines["lab-worker-2"], power="gone")


def never_back(world: World) -> None:
    world.returned_s = 10_000
    FakePower(world).power_off("lab-worker-2")


def stays_tainted(world: World) -> None:
    world.change_node("lab-worker-1", taints=(Taint(UNREACHABLE, "NoExecute"),))


@pytest.mark.parametrize(
    ("harm", "words"),
    [(gone, "labctl up"), (never_back, "kubelet of lab-worker-2"), (stays_tainted, "still tainted")],
)
def test_what_cannot_be_restored_is_left_over(
    world: World, lab: DrillLab, harm: Callable[[World], None], words: str
) -> None:
    intent = Journal(lab.journal).intend("worker-poweroff", "workload")
    harm(world)
    leftovers = recover(lab, ignore).leftovers
    assert any(words in leftover for leftover in leftovers), leftovers
    assert Journal(lab.journal).open_intents() == [intent], "not closed before it is whole"


def test_one_leftover_does_not_keep_the_rest_from_being_restored(world: World, lab: DrillLab) -> None:
    class Stubborn(FakeCluster):
        def delete_namespace(self, name: str, timeout_s: float) -> None:
            raise LabError("finalizers")

    world.objects["Namespace", "", "labctl-drill"] = {
        "metadata": {"name": "labctl-drill", "labels": {"app.kubernetes.io/managed-by": "labctl"}}
    }
    Journal(lab.journal).intend("worker-poweroff", "power-off", restore=("default/hello-world",))
    done = recover(replace(lab, cluster=Stubborn(world)), ignore)
    assert done.restored == ("default/hello-world",)
    assert done.leftovers == ("namespace labctl-drill: finalizers",)


def test_status_names_what_was_not_undone(world: World, lab: DrillLab) -> None:
    journal = Journal(lab.journal)
    journal.intend("worker-poweroff", "workload")
    journal.intend("worker-poweroff", "power-off", machine="lab-worker-1")
    sentences = broken(lab.journal, world.machines.values())
    assert len(sentences) == 2
    assert sentences[1].endswith("was not undone (power-off of lab-worker-1): labctl recover")
