"""What findings come from and what would change them: words on small histories, figures from the prediction."""

from __future__ import annotations

import pytest

from labctl.drill.history import Entry
from labctl.drill.remedies import REMEDIES, remedies
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Advice, Finding, Level
from tests.unit.drill.test_judge import DRILL, HEAL, PLAN, PROOF, SCENE, fault, request, timeline


def answer(seen: Timeline, check: str, topic: str = "", level: Level = "fail", subject: str = "") -> Advice:
    found = Finding(check=check, level=level, text="in whatever words", topic=topic, subject=subject)
    return next(item for item in remedies(seen, [found]) if item.findings)


def node_says(t: float, *, ready: bool) -> Entry:
    thing: Entry = {"name": "w1", "ready": ready or None, "taints": [], "conditions": []}
    return {"t": t, "kind": "watch", "what": "nodes", "change": "MODIFIED", "object": thing}


BEGIN = (*fault(10, 10.2), PROOF)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((), "never knew that the machine was gone"),
        ((node_says(5, ready=True), *BEGIN, node_says(20, ready=False)), "got no NoExecute taint"),
    ],
)
def test_pods_that_did_not_come_back_have_the_first_cause(entries: tuple[Entry, ...], why: str) -> None:
    assert why in answer(timeline(*(entries or BEGIN)), "pods", "not-replaced", subject="deployment").why


@pytest.mark.parametrize(("limit", "change"), [(60, "timing: fast"), (1, "no timing alone is enough")])
def test_a_threshold_is_answered_with_the_slowest_timing_that_keeps_it(limit: float, change: str) -> None:
    scene = SCENE.model_copy(update={"drill": DRILL.model_copy(update={"recovered_within_s": limit})})
    seen = Timeline(PLAN.model_copy(update={"scene": scene}))
    for entry in BEGIN:
        seen.feed(entry)
    assert answer(seen, "thresholds", "late").change.startswith(change)


def test_a_false_alarm_is_answered_with_a_more_patient_timing() -> None:
    found = answer(timeline(*BEGIN), "node", "false-alarm")
    assert "timing: fast" in found.change
    assert found.effect == "heartbeats may be late by 18 s instead of 9 s"


def test_a_service_that_was_whole_needs_a_longer_hold_and_another_one_replicas() -> None:
    whole = timeline(*BEGIN, request(12, "timeout"), request(13), HEAL)
    assert "hold_s" in answer(whole, "service", "not-whole").change
    down = timeline(*BEGIN, request(12), request(13, "timeout"), HEAL)
    assert answer(down, "service", "not-whole").change.startswith("replicas: 3")


@pytest.mark.parametrize(
    ("first", "change"),
    [
        ("not_ready", "more CPU for the control plane"),
        ("service_restored", "kube-proxy"),
        ("condition", "read history.jsonl"),
    ],
)
def test_a_number_outside_its_band_is_explained_by_the_first_that_was(first: str, change: str) -> None:
    assert change in answer(timeline(*BEGIN), "bands", first, "flag").change


def test_what_the_probe_could_not_send_asks_for_nothing_of_the_service() -> None:
    found = answer(timeline(*BEGIN, request(12), HEAL), "service", "unsent", "inconclusive")
    assert found.change.startswith("fewer other programs on this host")


def test_a_bug_in_advice_does_not_cost_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDIES, "node", lambda *_: 1 // 0)
    assert "a bug in labctl: ZeroDivisionError" in answer(timeline(*BEGIN), "node", "unnoticed").why


def test_what_several_findings_have_in_common_is_said_once() -> None:
    found = [Finding(check="recovery", level="fail", text=f"left over: {n}") for n in range(2)]
    assert [item.findings for item in remedies(timeline(*BEGIN), found) if item.findings] == [(0, 1)]


def test_clients_are_told_to_try_again_only_if_they_failed() -> None:
    def told(*entries: Entry) -> list[str]:
        return [item.effect for item in remedies(timeline(*BEGIN, *entries, HEAL), []) if "clients:" in item.change]

    assert told(request(12, "timeout")) == ["as long as they are dead, about 12.5% of calls fail instead of 50.0%"]
    assert told(request(12)) == []


def test_a_service_that_is_whole_early_is_not_explained_as_a_late_one() -> None:
    early = timeline(*BEGIN, request(12), request(13), HEAL)
    assert answer(early, "bands", "service_restored", "flag").change.startswith("nothing")


def test_a_gap_that_decides_nothing_asks_for_nothing() -> None:
    assert answer(timeline(*BEGIN), "complete", "gap", "flag").change.startswith("nothing")
    assert answer(timeline(*BEGIN), "complete", "gap", "inconclusive").change.startswith("more CPU")
