"""Preemption, in a fake world: what is asked for, what is measured, what is held against a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from labctl.drill import Verdict, drills, recover, run
from labctl.drill.declare import Drill
from labctl.drill.faults import Hit
from labctl.drill.registry import fault
from labctl.drill.workload import HIGH, LOW, PART
from labctl.errors import InconclusiveError, UsageError
from labctl.events import Event
from tests.fakes import World, drill_lab

CLASSES = {("PriorityClass", "", f"labctl-drill-{name}") for name in (LOW, HIGH)}


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def go(name: str, world: World, run_dir: Path) -> Verdict:
    return run(drills()[name], drill_lab(world, run_dir.parent), run_dir, ignore, seed=1)


def measured(verdict: Verdict, name: str) -> float | None:
    return next(stage.measured_s for stage in verdict.stages if stage.name == name)


def said(verdict: Verdict, check: str, level: str) -> list[str]:
    return [finding.text for finding in verdict.findings if (finding.check, finding.level) == (check, level)]


def test_a_pod_of_low_priority_makes_room_and_its_successor_waits(run_dir: Path) -> None:
    world = World.make()
    verdict = go("preemption", world, run_dir)
    assert (verdict.verdict, [f.level for f in verdict.findings]) == ("pass", ["info"])
    assert measured(verdict, "preempted") == pytest.approx(2.1, abs=0.2)
    (text,) = said(verdict, "preempts", "info")
    assert "low-priority-lab-worker" in text
    assert text.endswith("-new is Pending")
    assert not CLASSES & world.objects.keys()


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"preempts": False}, "the pod of high priority does not run"),
        ({"preempts": False}, "no pod of low priority was preempted"),
        ({"preempts_others": True}, "was preempted, which has no low priority"),
        ({"preempts_others": True}, "no successor of a pod of low priority is Pending: there was room for all"),
    ],
)
def test_a_preemption_that_is_none_fails(run_dir: Path, knobs: dict[str, bool], text: str) -> None:
    world = World.make(**knobs)
    verdict = go("preemption", world, run_dir)
    assert verdict.verdict == "fail"
    assert any(text in found for found in said(verdict, "preempts", "fail"))
    assert not CLASSES & world.objects.keys()


def test_low_priority_takes_all_that_is_left_of_a_node_and_no_more_than_that(tmp_path: Path) -> None:
    world = World.make()
    world.cpu["lab-worker-1"], world.cpu["lab-worker-2"] = 730, 400
    lab = drill_lab(world, tmp_path)
    for machine in ("lab-worker-1", "lab-worker-2"):
        fault("low-priority-pods").inject(lab, Hit(machine))
    fault("high-priority-pod").inject(lab, Hit("lab-worker-1"))
    wanted = {name: spec for (kind, _, name), spec in world.objects.items() if kind in ("Deployment", "Pod")}
    template = wanted["low-priority-lab-worker-1"]["spec"]["template"]["spec"]
    assert template["containers"][0]["resources"] == {"requests": {"cpu": "730m"}}
    assert template["nodeSelector"] == {"kubernetes.io/hostname": "lab-worker-1"}
    high = wanted["hello-high-priority"]["spec"]
    assert high["containers"][0]["resources"] == {"requests": {"cpu": "400m"}}, "it fits where the smallest one is"
    values = {name: world.objects[kind, space, name]["value"] for kind, space, name in CLASSES}
    low, higher = values["labctl-drill-low-priority"], values["labctl-drill-high-priority"]
    assert low < higher < 0, "pods without a class have 0: none of them can be preempted"


def test_a_node_that_is_full_already_is_inconclusive(tmp_path: Path) -> None:
    world = World.make()
    world.cpu["lab-worker-1"] = 0
    with pytest.raises(InconclusiveError, match="lab-worker-1 has no CPU left"):
        fault("low-priority-pods").inject(drill_lab(world, tmp_path), Hit("lab-worker-1"))


def test_high_priority_without_low_priority_is_inconclusive(tmp_path: Path) -> None:
    with pytest.raises(InconclusiveError, match="the setup has no low-priority-pods"):
        fault("high-priority-pod").inject(drill_lab(World.make(), tmp_path), Hit("lab-worker-1"))


def test_a_control_plane_that_accepts_pods_would_have_room(run_dir: Path) -> None:
    world = World.make()
    world.change_node("lab-cp-1", taints=())
    with pytest.raises(UsageError, match="lab-cp-1 is no worker and accepts pods"):
        go("preemption", world, run_dir)


def test_recover_removes_drills_priority_classes_and_nobody_elses(tmp_path: Path) -> None:
    world = World.make()
    lab = drill_lab(world, tmp_path)
    fault("low-priority-pods").inject(lab, Hit("lab-worker-1"))
    lab.cluster.apply([{"kind": "PriorityClass", "metadata": {"name": "labctl-drill-high-priority"}}])
    done = recover(lab, ignore)
    assert done.undone == ("the priority class labctl-drill-low-priority",)
    assert ("PriorityClass", "", "labctl-drill-high-priority") in world.objects, "it has not labctl's label"


def test_what_is_expected_of_a_step_needs_that_step() -> None:
    drill = drills()["preemption"].model_dump(by_alias=True)
    drill["steps"] = [{"fault": "power-off"}]
    with pytest.raises(ValidationError, match=r"expect\.preempts: none of the steps is high-priority-pod"):
        Drill.model_validate(drill)


def test_low_and_high_priority_are_no_parts_of_the_workload(tmp_path: Path) -> None:
    world = World.make()
    lab = drill_lab(world, tmp_path)
    fault("low-priority-pods").inject(lab, Hit("lab-worker-1"))
    assert [pod.labels[PART] for pod in world.pods.values() if PART in pod.labels] == [LOW]
    fault("low-priority-pods").heal(lab, Hit("lab-worker-1"))
    assert not [pod for pod in world.pods.values() if PART in pod.labels]
