"""What was declared, in sentences, and whether it was kept."""

from __future__ import annotations

import pytest

from labctl.drill.aftermath import fates
from labctl.drill.judge import CHECKS
from labctl.drill.promises import promises
from labctl.drill.remedies import REMEDIES
from labctl.drill.verdict import Finding, Level
from tests.unit.drill.test_fates import AFTER, BEFORE, EVICTED, HEIR, timeline
from tests.unit.drill.test_judge import PLAN

REPLACED = "deployment: the lost pods are Ready again elsewhere"
WHOLE = "the lab is whole again, and nothing is left over"


def kept(*findings: Finding, is_proven: bool = True) -> dict[str, bool | None]:
    return {promise.text: promise.is_kept for promise in promises(PLAN, findings, is_proven=is_proven)}


def finding(check: str, level: Level = "fail", **rest: str) -> Finding:
    return Finding(check=check, level=level, text="in whatever words", **rest)


def test_without_findings_all_is_kept_and_without_a_fault_nothing_is_known() -> None:
    assert set(kept().values()) == {True}
    assert len(kept()) == 8
    assert set(kept(is_proven=False).values()) == {None}


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (finding("pods", subject="deployment"), REPLACED),
        (finding("node", subject="w1"), "w1 becomes NotReady, for its heartbeats stay away"),
        (finding("returned", topic="moved-back"), "nothing moves back by itself"),
        (finding("recovery"), WHOLE),
    ],
)
def test_a_finding_breaks_its_own_promise_alone(found: Finding, broken: str) -> None:
    assert [text for text, is_kept in kept(found).items() if is_kept is False] == [broken]


def test_what_a_crashed_check_would_have_seen_is_not_known() -> None:
    found = kept(finding("pods", "inconclusive", topic="crashed"))
    assert [text for text, is_kept in found.items() if is_kept is None] == [
        REPLACED,
        "bare-pod: what is lost is not made again",
    ]


def test_what_clients_must_notice_is_a_promise_too() -> None:
    expect = PLAN.drill.expect.model_copy(update={"noticed_by": "victim"})
    drill = PLAN.drill.model_copy(update={"expect": expect})
    plan = PLAN.model_copy(update={"scene": PLAN.scene.model_copy(update={"drill": drill})})
    found = {p.text: p.is_kept for p in promises(plan, [finding("noticed")], is_proven=True)}
    assert found["clients notice: requests of the stream victim fail"] is False


# -- remedies and the pods' fates come with the verdict


def test_every_check_has_a_remedy() -> None:
    assert set(REMEDIES) == set(CHECKS)


def test_a_pod_that_was_evicted_has_its_heir() -> None:
    after = {**AFTER, "pods": [HEIR["object"]]}
    owned = [{**pod, "owner_kind": "ReplicaSet", "owner_name": "hello"} for pod in (*BEFORE["pods"], *after["pods"])]
    seen = timeline({}, {**BEFORE, "pods": owned[:1]}, EVICTED, HEIR, {**after, "pods": owned[1:]})
    (fate,) = fates(seen)
    assert (fate.pod, fate.node, fate.is_lost) == ("labctl-drill/a", "w1", False)
    assert fate.text == "evicted after 20.0 s; its owner made b on w2"
