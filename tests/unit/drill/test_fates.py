"""What the judge makes of pods and nodes, on small histories made by hand: each expectation met, and not met."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.drill import fates, judge
from labctl.drill.declare import Drill, PartName, Step
from labctl.drill.history import Entry
from labctl.drill.model import Lost, Plan, PlannedStep, Scene, Topology, Tracked, Victim
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Level
from labctl.drill.workload import KINDS, PART
from tests.unit.drill.test_judge import SETTINGS

SPACE = "labctl-drill"


def pod(uid: str, node: str, part: str = "deployment", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = {"uid": uid, "namespace": SPACE, "name": uid, "node": node, "phase": "Running", "restarts": 0, "ready": True}
    return {**made, "deletion_timestamp": "", "labels": {PART: part}, **changes}


def seen(t: float, change: str = "MODIFIED", **thing: Any) -> Entry:  # noqa: ANN401 - JSON
    return {"t": t, "kind": "watch", "what": "pods", "change": change, "object": thing}


def node_says(t: float, *, ready: bool | None, name: str = "w1", **conditions: str) -> Entry:
    said = [{"type": key, "status": value} for key, value in conditions.items()]
    thing = {"name": name, "ready": ready, "taints": [], "conditions": said}
    return {"t": t, "kind": "watch", "what": "nodes", "change": "MODIFIED", "object": thing}


def snapshot(name: str, *pods: dict[str, Any]) -> Entry:
    return {"t": 0, "kind": "snapshot", "name": name, "pods": list(pods)}


def timeline(expect: dict[str, Any], *entries: Entry, part: PartName = "deployment") -> Timeline:
    drill = Drill.model_validate(
        {"name": "x", "text": "", "parts": list(KINDS), "steps": [Step(fault="power-off")], "expect": expect}
    )
    lost = (Lost(namespace=SPACE, name="a", uid="a", node="w1"),)
    scene = Scene(
        drill=drill,
        goes="unreachable",
        keeps_serving=False,
        evicts=False,
        topology=Topology(nodes_ready=2),
        victims=(Victim(name="w1", address=""),),
        tracked=(Tracked(part=part, kind=KINDS[part], name=part, wanted=1, lost=lost),),
    )
    made = Timeline(
        Plan(
            scene=scene,
            lab="lab",
            seed=1,
            settings=SETTINGS,
            survivors=("w2",),
            steps=(PlannedStep(step=drill.steps[0], machines=("w1",)),),
            streams=(),
            delay_s=0,
            predictions=(),
        )
    )
    step = {"kind": "fault", "n": 0, "fault": "power-off", "machines": ["w1"]}
    begin = [{"t": 10, "step": "call", **step}, {"t": 10, "step": "done", **step}, {"t": 11, "step": "proof", **step}]
    for entry in (seen(1, **pod("a", "w1", part)), *begin, *entries):
        made.feed(entry)
    return made


EVICTED = seen(30, **pod("a", "w1", deletion_timestamp="now"))
HEIR = seen(31, **pod("b", "w2"))
BEFORE, AFTER = snapshot("before", pod("a", "w1")), snapshot("after", pod("a", "w1"))
RESTARTED = snapshot("after", pod("a", "w1", restarts=2))
PENDING = snapshot("held", pod("b", "", phase="Pending", ready=False))
OURS = snapshot("held", pod("b", "w2"))


@pytest.mark.parametrize(
    ("expected", "entries", "levels"),
    [
        ("replaced", [EVICTED, HEIR], []),
        ("replaced", [EVICTED], ["fail"]),
        ("replaced", [HEIR], ["fail"]),
        ("stays", [AFTER], []),
        ("stays", [EVICTED, AFTER], ["fail"]),
        ("stays", [snapshot("after")], ["fail"]),
        ("stays", [], ["inconclusive"]),
        ("most-stay", [AFTER], []),
        ("most-stay", [EVICTED, AFTER], []),
        ("most-stay", [snapshot("after")], ["fail"]),
        ("restarted", [BEFORE, RESTARTED], []),
        ("restarted", [BEFORE, AFTER], ["fail"]),
        ("waits", [EVICTED], []),
        ("waits", [AFTER], ["fail"]),
        ("waits", [EVICTED, HEIR], ["fail"]),
        ("pending", [EVICTED, PENDING], []),
        ("pending", [EVICTED, OURS], ["fail"]),
        ("pending", [EVICTED], ["inconclusive"]),
        ("lost", [EVICTED], []),
        ("lost", [AFTER], ["fail"]),
        ("lost", [EVICTED, seen(40, **pod("c", "w2", name="a"))], ["fail"]),
        ("again", [AFTER], []),
        ("again", [snapshot("after")], ["fail"]),
        ("any", [], []),
    ],
)
def test_what_became_of_a_part(expected: str, entries: list[Entry], levels: list[Level]) -> None:
    made = timeline({"pods": {"deployment": expected}}, *entries)
    assert [said.level for said in fates.pods(made)] == levels


def test_of_most_that_stay_those_of_one_node_may_go_and_of_no_second_one() -> None:
    made = timeline({"pods": {"deployment": "most-stay"}}, snapshot("after", pod("a", "w1"), pod("b", "w2")))
    (tracked,) = made.plan.tracked
    lost = tuple(Lost(namespace="n", name=name, uid=name, node=node) for name, node in (("a", "w1"), ("b", "w2")))
    both = tracked.model_copy(update={"lost": lost})
    scene = made.plan.scene.model_copy(update={"tracked": (both,)})
    made.plan = made.plan.model_copy(update={"scene": scene})
    made.evicted = {"a": 30.0}
    assert list(fates.pods(made)) == []
    made.evicted["b"] = 31.0
    assert [said.text for said in fates.pods(made)] == [
        "deployment: pods on w1, w2 were asked to go; those of one node at most should be"
    ]


def test_a_part_that_was_on_no_victim_shows_nothing() -> None:
    made = timeline({"pods": {"job": "replaced"}}, part="job")
    tracked = made.plan.tracked[0].model_copy(update={"lost": ()})
    scene = made.plan.scene.model_copy(update={"tracked": (tracked,)})
    made.plan = made.plan.model_copy(update={"scene": scene})
    assert [said.level for said in fates.pods(made)] == ["inconclusive"]


@pytest.mark.parametrize(
    ("expected", "entries", "levels"),
    [
        ("unreachable", [node_says(20, ready=None)], []),
        ("unreachable", [], ["fail"]),
        ("not-ready", [node_says(20, ready=False)], []),
        ("not-ready", [node_says(20, ready=None)], ["fail"]),
        ("shuts-down", [node_says(11, ready=False), node_says(20, ready=None)], []),
        ("shuts-down", [node_says(20, ready=None)], ["fail"]),
        ("stays", [], []),
        ("stays", [node_says(20, ready=None)], ["fail"]),
        ("stays", [node_says(20, ready=None, name="w2")], []),
        ("any", [], []),
    ],
)
def test_what_became_of_the_node(expected: str, entries: list[Entry], levels: list[Level]) -> None:
    assert [said.level for said in fates.node(timeline({"node": expected}, *entries))] == levels


def test_a_condition_that_was_expected() -> None:
    full = node_says(20, ready=True, DiskPressure="True")
    assert list(fates.condition(timeline({"condition": "DiskPressure"}, full))) == []
    assert [said.level for said in fates.condition(timeline({"condition": "DiskPressure"}))] == ["fail"]


def test_absence_weighs_less_where_not_all_was_seen() -> None:
    gap = {"t": 20, "kind": "gap", "what": "pods", "start": 19, "end": 20, "reason": "lost"}
    made = timeline({"pods": {"deployment": "replaced"}}, EVICTED, gap)
    assert [said.level for said in fates.pods(made)] == ["inconclusive"]


def test_clients_that_should_notice_and_do_not() -> None:
    ok = {"t": 20, "kind": "request", "stream": "victim", "intended": 20, "done": 20.1, "class": "ok"}
    assert [said.level for said in judge.CHECKS["noticed"](timeline({"noticed_by": "victim"}, ok))] == ["fail"]
    assert list(judge.CHECKS["noticed"](timeline({"noticed_by": "victim"}, ok, {**ok, "class": "timeout"}))) == []


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_its_kubelet_ended_has_left(phase: str) -> None:
    failed = seen(30, **pod("a", "w1", phase=phase, ready=False))
    assert [said.level for said in fates.pods(timeline({"pods": {"deployment": "replaced"}}, failed, HEIR))] == []
