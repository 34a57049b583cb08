"""Single checks on small histories made by hand; whole runs are in test_runner.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labctl.drill import drills, judge
from labctl.drill.history import Entry
from labctl.drill.measure import baseline_failures, during_fault, stages, summary
from labctl.drill.model import Lost, Plan, PlannedStep, Scene, Settings, Stream, Topology, Tracked, Victim
from labctl.drill.outlook import outlook
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Finding, Level, Outcome, Remark, Verdict, worst
from labctl.drill.workload import PART

DRILL = drills()["worker-poweroff"]
SETTINGS = Settings(
    version="v1.37.2",
    grace_s=10,
    monitor_s=1,
    lease_s=4,
    eviction_rate=0.1,
    secondary_eviction_rate=0.01,
    unhealthy_threshold=0.55,
    large_cluster=50,
    toleration_s=10,
)
LOST = Lost(namespace="labctl-drill", name="hello-0", uid="u0", owner_kind="ReplicaSet")
BARE = Lost(namespace="labctl-drill", name="hello-world", uid="b0")
SCENE = Scene(
    drill=DRILL,
    goes="unreachable",
    keeps_serving=False,
    evicts=False,
    topology=Topology(nodes_ready=2),
    victims=(Victim(name="w1", address="10.0.0.21"),),
    tracked=(
        Tracked(part="deployment", kind="Deployment", name="hello", wanted=2, lost=(LOST,)),
        Tracked(part="bare-pod", kind="Pod", name="hello-world", wanted=1, lost=(BARE,)),
    ),
)
PLAN = Plan(
    scene=SCENE,
    lab="lab",
    seed=1,
    settings=SETTINGS,
    survivors=("cp", "w2"),
    steps=(PlannedStep(step=DRILL.steps[0], machines=("w1",), unproven="lost its power", is_silencing=True),),
    streams=tuple(Stream(spec=spec, host="10.0.0.10", port=31000) for spec in DRILL.streams),
    delay_s=0.5,
    predictions=outlook(SETTINGS, SCENE),
)


def timeline(*entries: Entry) -> Timeline:
    made = Timeline(PLAN)
    for entry in entries:
        made.feed(entry)
    return made


def fault(call: float, done: float | None = None) -> list[Entry]:
    return [
        {"t": call, "kind": "fault", "step": "call", "n": 0, "fault": "power-off", "machines": ["w1"]},
        {"t": call if done is None else done, "kind": "fault", "step": "done", "n": 0, "machines": ["w1"]},
    ]


def beacon(t: float, *, ok: bool) -> Entry:
    return {"t": t, "kind": "beacon", "machine": "w1", "ok": ok}


def request(t: float, kind: str = "ok", stream: str = "survivor", took: float = 0.01) -> Entry:
    return {"t": t, "kind": "request", "stream": stream, "intended": t, "done": t + took, "class": kind}


PROOF: Entry = {"t": 12.0, "kind": "fault", "step": "proof", "n": 0, "machines": ["w1"]}
HEAL: Entry = {"t": 40.0, "kind": "heal", "step": "call"}


def test_the_fault_is_the_last_sign_of_life_after_the_call() -> None:
    seen = timeline(beacon(9.9, ok=True), *fault(10, 10.5), beacon(10.1, ok=True), beacon(10.3, ok=False), PROOF)
    assert seen.fault == 10.1
    assert seen.fault_uncertainty_s == pytest.approx(0.2)
    seen.feed(beacon(41, ok=True))
    assert seen.fault == 10.1, "a machine that returned does not move the fault"


def test_without_a_later_sign_of_life_the_fault_is_the_call() -> None:
    seen = timeline(beacon(9.9, ok=True), *fault(10, 10.4), beacon(10.1, ok=False), PROOF)
    assert seen.fault == 10


def test_a_beacon_that_speaks_again_is_not_silent() -> None:
    seen = timeline(*fault(10), beacon(10.2, ok=False), beacon(10.4, ok=False), beacon(10.6, ok=True))
    assert seen.misses("w1") == 0
    assert seen.fault == 10.6


def test_the_service_is_whole_from_the_first_request_after_the_last_failure() -> None:
    times = [(10.1, "timeout"), (11, "ok"), (19.5, "timeout"), (19.6, "ok"), (30, "ok")]
    seen = timeline(*fault(10), PROOF, *(request(t, kind) for t, kind in times), HEAL, request(50, "timeout"))
    found = {stage.name: stage.measured_s for stage in stages(seen)}
    assert found["service_restored"] == pytest.approx(9.6)


@pytest.mark.parametrize(("kind", "level"), [("timeout", "fail"), ("discarded", "inconclusive")])
def test_what_the_probe_could_not_send_says_nothing_of_the_service(kind: str, level: str) -> None:
    late = [request(19, "ok"), *(request(19 + n / 10, kind) for n in range(1, 4))]
    seen = timeline(*fault(10), PROOF, *late, {"t": 20, "kind": "heal", "step": "call"})
    (said,) = judge.CHECKS["service"](seen)
    assert said.level == level
    assert ("could not be sent in time" in said.text) == (kind == "discarded")


def test_a_service_that_never_failed_is_within_any_threshold() -> None:
    scene = SCENE.model_copy(update={"drill": DRILL.model_copy(update={"recovered_within_s": 1})})
    plan = PLAN.model_copy(update={"scene": scene})
    seen = Timeline(plan)
    for entry in (*fault(10, 10.2), PROOF, *(request(10 + n / 20) for n in range(600)), HEAL):
        seen.feed(entry)
    (said,) = judge.CHECKS["thresholds"](seen)
    assert (said.level, said.text) == ("fail", "not recovered within 1 s: replaced never")


def test_a_service_without_an_end_of_failure_was_not_restored() -> None:
    seen = timeline(*fault(10), PROOF, *(request(t, "timeout") for t in (11, 38.5, 39.5)), HEAL)
    assert {s.name: s.measured_s for s in stages(seen)}["service_restored"] is None
    assert [said.level for said in judge.CHECKS["service"](seen)] == ["fail"]


def test_requests_count_by_class_and_discards_are_failures() -> None:
    kinds = ["ok", "timeout", "discarded", "refused", "timeout"]
    seen = timeline(request(9, "reset"), *fault(10), *(request(10 + i, kind) for i, kind in enumerate(kinds)), HEAL)
    made = summary(seen, "survivor")
    assert (made.sent, made.ok, made.failed) == (5, 1, {"discarded": 1, "refused": 1, "timeout": 2})
    assert (made.first_failed_s, made.last_failed_s) == (1, 4)
    assert [said.level for said in judge.CHECKS["requests"](seen)] == ["flag"]


def test_answers_that_come_out_of_order_are_sorted_by_when_they_were_due() -> None:
    seen = timeline(*fault(10), request(13), request(11, "timeout", took=3), request(12))
    assert [r.intended for r in during_fault(seen, "survivor")] == [11, 12, 13]


def test_the_baseline_ends_with_the_fault() -> None:
    phase = {"t": 5, "kind": "phase", "name": "baseline"}
    seen = timeline(request(4, "reset"), phase, request(6, "reset"), *fault(10), request(9.9, "timeout", took=3))
    assert [r.intended for r in baseline_failures(seen)] == [6]


def pod(uid: str, node: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = {"uid": uid, "namespace": "n", "name": uid, "node": node, "phase": "Running", "restarts": 0}
    return {**made, "deletion_timestamp": "", **changes}


def untouched(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Level]:
    seen = timeline(*fault(10), PROOF)
    seen.feed({"t": 9, "kind": "snapshot", "name": "before", "pods": before})
    seen.feed({"t": 90, "kind": "snapshot", "name": "after", "pods": after})
    return [said.level for said in judge.CHECKS["untouched"](seen)]


def test_only_pods_of_other_machines_must_be_untouched() -> None:
    assert untouched([pod("a", "w1"), pod("b", "w2")], [pod("b", "w2")]) == []
    assert untouched([pod("b", "w2")], []) == ["fail"]
    assert untouched([pod("b", "w2")], [pod("b", "w2", restarts=1)]) == ["fail"]
    assert untouched([pod("b", "w2", phase="Succeeded")], []) == []
    assert untouched([pod("b", "w2", deletion_timestamp="x")], []) == []


def test_pods_that_were_not_listed_at_the_end_are_inconclusive() -> None:
    seen = timeline(*fault(10), PROOF)
    assert [said.level for said in judge.CHECKS["untouched"](seen)] == ["inconclusive"]


def test_a_leftover_fails() -> None:
    seen = timeline({"t": 1, "kind": "leftover", "text": "namespace labctl-drill"})
    assert list(judge.CHECKS["recovery"](seen)) == [Remark("fail", "left over: namespace labctl-drill")]


def test_a_gap_of_a_watch_that_nothing_rests_on_is_flagged() -> None:
    gap = {"t": 20, "kind": "gap", "what": "events", "start": 19, "end": 20, "reason": "lost"}
    assert [said.level for said in judge.CHECKS["complete"](timeline(gap))] == ["flag"]
    assert [said.level for said in judge.CHECKS["complete"](timeline({**gap, "what": "pods"}))] == ["inconclusive"]


def test_many_gaps_are_one_finding_with_the_longest() -> None:
    gap = {"t": 20, "kind": "gap", "what": "events", "start": 19, "end": 20, "reason": "lost"}
    found = timeline(gap, {**gap, "start": 30, "end": 34.5, "what": "leases", "reason": "timed out"}, gap)
    assert [said.text for said in judge.CHECKS["complete"](found)] == [
        "the watch of events, leases may have missed something, 3 times, at the longest for 4.5 s: timed out"
    ]


def test_a_check_that_crashes_is_inconclusive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def crash(_: Timeline) -> list[tuple[Level, str]]:
        raise KeyError("a bug")

    monkeypatch.setattr(judge, "CHECKS", {"bands": crash})
    verdict = judge.judge(Timeline(PLAN), tmp_path)
    assert verdict.verdict == "inconclusive"
    assert "the check crashed" in verdict.findings[0].text


def test_an_empty_history_is_no_pass(tmp_path: Path) -> None:
    assert judge.judge(Timeline(PLAN), tmp_path).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("levels", "outcome"),
    [
        ([], "pass"),
        (["flag", "info"], "pass"),
        (["flag", "inconclusive"], "inconclusive"),
        (["inconclusive", "fail"], "fail"),
        (["fail", "not-injected", "inconclusive"], "not-injected"),
    ],
)
def test_the_worst_finding_wins(levels: list[Level], outcome: str) -> None:
    assert worst(tuple(Finding(check="c", level=level, text="") for level in levels)) == outcome


@pytest.mark.parametrize(("outcome", "code"), [("pass", 0), ("fail", 1), ("inconclusive", 3), ("not-injected", 3)])
def test_exit_codes(outcome: Outcome, code: int) -> None:
    verdict = Verdict(drill="d", lab="lab", verdict=outcome, stages=(), findings=(), run_dir="", victim="w1", seed=1)
    assert verdict.exit_code == code


def test_a_plan_can_be_read_again() -> None:
    assert Plan.model_validate_json(PLAN.model_dump_json(by_alias=True)) == PLAN


def watched(t: float, what: str, **thing: Any) -> Entry:  # noqa: ANN401 - JSON
    return {"t": t, "kind": "watch", "what": what, "change": "MODIFIED", "object": thing}


def hello(t: float, uid: str, node: str, deleted: str = "") -> Entry:
    labels = {PART: "deployment"}
    made = pod(uid, node, namespace="labctl-drill", labels=labels, ready=True, deletion_timestamp=deleted)
    return watched(t, "pods", **made)


def test_a_replica_counts_as_replaced_only_elsewhere() -> None:
    seen = timeline(hello(1, "u0", "w1"), hello(1, "u1", "w2"), *fault(10), PROOF, hello(30, "u0", "w1", "now"))
    assert seen.since_fault("evicted", "deployment") == 20
    seen.feed(hello(31, "u2", "w1"))
    assert seen.since_fault("replaced", "deployment") is None
    seen.feed(hello(32, "u3", "w2"))
    assert seen.since_fault("replaced", "deployment") == 22


def test_a_node_that_was_never_missed_did_not_return() -> None:
    ready = watched(41, "nodes", name="w1", ready=True, taints=[], conditions=[])
    assert timeline(*fault(10), HEAL, ready).since_fault("returned", "w1") is None
    lost = watched(20, "nodes", name="w1", ready=None, taints=[], conditions=[])
    assert timeline(*fault(10), lost, HEAL, ready).since_fault("returned", "w1") == 1
