"""Recovery by itself: looks at the world first, verifies, and lists what is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.drill import DrillLab, broken, recover, running, workload
from labctl.drill.journal import Journal
from labctl.errors import LabError
from labctl.events import Event, Progress
from labctl.kube.objects import UNREACHABLE, Taint
from tests.fakes import HELLO, FakeCluster, FakePower, World, drill_lab


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
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", machine="lab-worker-2")
    world.failing_checks = ["NODE-001 containerd runs (lab-worker-2): inactive; expected active"]
    assert recover(lab, ignore).leftovers == tuple(world.failing_checks)
    assert Journal(lab.journal, lab.name).open_intents() != []
    world.failing_checks = []
    assert recover(lab, ignore).leftovers == ()
    assert Journal(lab.journal, lab.name).open_intents() == []


def test_what_goes_with_time_is_waited_for_and_said_once(world: World, lab: DrillLab) -> None:
    world.failing_checks = ["NODE-006 the kubelet has not crashed within the last minute"]
    world.clock.after(50, world.failing_checks.clear)
    said: list[str] = []
    start = world.clock.now()
    assert recover(lab, lambda event: said.append(str(event))).leftovers == ()
    assert 50 <= world.clock.now() - start < 60
    assert [text for text in said if "NODE-006" in text] == said


def test_the_world_is_looked_at_even_if_the_journal_knows_nothing(world: World, lab: DrillLab) -> None:
    FakePower(world).power_off("lab-worker-2")
    assert broken(lab.name, lab.journal, world.machines.values()) == ["lab-worker-2 is off: labctl recover"]
    assert recover(lab, ignore).switched_on == ("lab-worker-2",)
    assert world.alive["lab-worker-2"]


def test_a_node_that_the_api_still_calls_ready_must_answer_itself(world: World, lab: DrillLab) -> None:
    FakePower(world).power_off("lab-worker-2")
    start = world.clock.now()
    assert world.nodes["lab-worker-2"].ready, "within the grace period"
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= world.returned_s


def test_a_machine_that_was_switched_on_before_the_kill_is_waited_for_too(world: World, lab: DrillLab) -> None:
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", machine="lab-worker-2")
    power = FakePower(world)
    power.power_off("lab-worker-2")
    power.power_on("lab-worker-2")
    start = world.clock.now()
    assert recover(lab, ignore).leftovers == ()
    assert world.clock.now() - start >= world.returned_s
    assert Journal(lab.journal, lab.name).open_intents() == []


def test_a_pod_is_put_back_after_the_old_one_is_gone(world: World, lab: DrillLab) -> None:
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", restore=("default/hello-world",))
    old = world.add_pod("default", "hello-world", "lab-worker-1")
    world.change_pod(old.uid, deletion_timestamp="now")
    world.clock.after(5, lambda: world.drop_pod(old.uid))
    done = recover(lab, ignore)
    assert (done.restored, done.leftovers) == (("default/hello-world",), ())
    assert [p.uid != old.uid for p in world.pods.values() if p.name == "hello-world"] == [True]


def test_a_pod_that_its_kubelet_ended_is_made_anew(world: World, lab: DrillLab) -> None:
    Journal(lab.journal, lab.name).intend("graceful-shutdown", "graceful-shutdown", restore=("default/hello-world",))
    old = world.add_pod("default", "hello-world", "lab-worker-1")
    world.change_pod(old.uid, phase="Succeeded", ready=False)
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


def never_back(world: World) -> None:
    world.returned_s = 10_000
    FakePower(world).power_off("lab-worker-2")


def stays_tainted(world: World) -> None:
    world.change_node("lab-worker-1", taints=(Taint(UNREACHABLE, "NoExecute"),))


@pytest.mark.parametrize(
    ("harm", "words"),
    [(never_back, "kubelet of lab-worker-2"), (stays_tainted, "still tainted")],
)
def test_what_cannot_be_restored_is_left_over(
    world: World, lab: DrillLab, harm: Callable[[World], None], words: str
) -> None:
    intent = Journal(lab.journal, lab.name).intend("worker-poweroff", "workload")
    harm(world)
    leftovers = recover(lab, ignore).leftovers
    assert any(words in leftover for leftover in leftovers), leftovers
    assert Journal(lab.journal, lab.name).open_intents() == [intent], "not closed before it is whole"


def removed(world: World, name: str) -> None:
    """By hand, with podman rm: the provider does not list it any longer, but its node and pods are there."""
    FakePower(world).power_off(name)
    world.clock.sleep(60)
    del world.machines[name]


def refused(world: World, name: str) -> None:
    FakePower(world).power_off(name)
    world.clock.sleep(60)
    world.power_returns = False


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (removed, "the machine is gone → labctl up --lab two makes it again, then labctl recover --lab two"),
        (refused, "it cannot be switched on: the engine refuses → mend that; then labctl recover --lab two"),
    ],
)
def test_nobody_waits_for_a_machine_that_cannot_come(
    world: World, lab: DrillLab, harm: Callable[[World, str], None], said: str
) -> None:
    for number in ("1", "2"):
        world.add_pod("kube-system", f"kube-proxy-{number}", f"lab-worker-{number}", owner="DaemonSet")
    world.add_pod("labctl-drill", "hello-world", "lab-worker-2")
    world.add_pod("default", "hello-world", "lab-worker-2")
    world.objects["Namespace", "", "labctl-drill"] = {"metadata": {"name": "labctl-drill", "labels": workload.OWNED}}
    world.objects["Deployment", "default", "hello"] = dict(HELLO[1])
    restore = ("default/hello-world", "default/other")
    Journal(lab.journal, "two").intend("worker-poweroff", "power-off", machine="lab-worker-2", restore=restore)
    harm(world, "lab-worker-2")
    world.change_node("lab-worker-1", ready=False)
    world.clock.after(3, lambda: world.change_node("lab-worker-1", ready=True))
    other = {**HELLO[0], "metadata": {**HELLO[0]["metadata"], "name": "other"}, "spec": {"nodeName": "lab-worker-1"}}
    start = world.clock.now()
    done = recover(replace(lab, name="two", hello=(*HELLO, other)), ignore)
    assert done.leftovers == (
        f"lab-worker-2: {said}",
        "namespace labctl-drill: goes with its pods, and lab-worker-2 cannot say that they ended",
        "pod default/hello-world: the old one is still on lab-worker-2",
    )
    assert done.restored == ("default/other",), "the others have their turn"
    assert 3 <= world.clock.now() - start < 5, "waited for the one that can come"
    assert Journal(lab.journal, "two").open_intents()


def test_without_a_control_plane_nobody_asks_the_cluster(world: World, lab: DrillLab) -> None:
    removed(world, "lab-cp-1")
    done = recover(replace(lab, cluster=None), ignore)  # type: ignore[arg-type]
    assert [text.split(" →")[0] for text in done.leftovers] == [
        "lab-cp-1: the machine is gone",
        "the cluster: no control plane is on",
    ]


def test_whoever_waits_says_for_what_whenever_that_changes(world: World, lab: DrillLab) -> None:
    FakePower(world).power_off("lab-worker-2")
    world.clock.sleep(60)
    proxy = world.add_pod("kube-system", "kube-proxy-1", "lab-worker-1", owner="DaemonSet")
    world.change_pod(proxy.uid, ready=False)
    world.clock.after(10, lambda: world.change_pod(proxy.uid, ready=True))
    heard: list[Event] = []
    recover(lab, heard.append)
    lines = [event.text for event in heard if isinstance(event, Progress)]
    assert lines[0] == "lab-worker-2 is off: switching it on"
    assert lines[1].startswith("waiting: the kubelet of lab-worker-2 does not answer")
    assert lines[2].startswith("waiting: kube-proxy-1 on lab-worker-1")
    assert len(lines) == 3, "the same is not said twice"


def test_one_leftover_does_not_keep_the_rest_from_being_restored(world: World, lab: DrillLab) -> None:
    class Stubborn(FakeCluster):
        def delete_namespace(self, name: str, timeout_s: float) -> None:
            raise LabError("finalizers")

    world.objects["Namespace", "", "labctl-drill"] = {
        "metadata": {"name": "labctl-drill", "labels": {"app.kubernetes.io/managed-by": "labctl"}}
    }
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", restore=("default/hello-world",))
    done = recover(replace(lab, cluster=Stubborn(world)), ignore)
    assert done.restored == ("default/hello-world",)
    assert done.leftovers == ("namespace labctl-drill: finalizers",)


def test_status_names_what_was_not_undone(world: World, lab: DrillLab) -> None:
    journal = Journal(lab.journal, lab.name)
    journal.intend("worker-poweroff", "workload")
    journal.intend("worker-poweroff", "power-off", machine="lab-worker-1")
    sentences = broken(lab.name, lab.journal, world.machines.values())
    assert len(sentences) == 2
    assert sentences[1].endswith("(power-off of lab-worker-1) was not undone: labctl recover")
    assert broken("two", lab.journal, [])[0].endswith("labctl recover --lab two")


def test_a_drill_runs_as_long_as_its_labctl_lives(lab: DrillLab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert running(lab.name, lab.journal) == ""
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", machine="lab-worker-1")
    assert running(lab.name, lab.journal).endswith("(power-off of lab-worker-1)")
    monkeypatch.setattr("labctl.process.is_alive", lambda pid: pid != os.getpid())
    assert running(lab.name, lab.journal) == "", "whoever holds the lock now, it is not the drill"
