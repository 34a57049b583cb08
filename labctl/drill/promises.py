"""What a drill declared before the run, in sentences, and which of them were kept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from labctl.drill.declare import NodeGoes, PodsGo, ServiceGoes
from labctl.drill.model import Plan
from labctl.drill.verdict import Finding, Promise

_NODE: dict[NodeGoes, str] = {
    "unreachable": "becomes NotReady, for its heartbeats stay away",
    "not-ready": "says of itself that it is NotReady",
    "shuts-down": "says of itself that it is NotReady as soon as it shuts down",
    "stays": "stays Ready all the time",
    "deleted": "becomes NotReady, and its Node is deleted",
}
_PODS: dict[PodsGo, str] = {
    "replaced": "the lost pods are Ready again elsewhere",
    "again": "as many pods as shall be are Ready at the end",
    "waits": "the lost pods are asked to go, and none takes their place",
    "lost": "what is lost is not made again",
    "stays": "the pods stay where they are",
    "most-stay": "the pods stay where they are, but for those of one node at most",
    "restarted": "the pods start again in place",
    "pending": "the lost pods are made again, and find no place",
}
_SERVICE: dict[ServiceGoes, str] = {
    "restored": "new connections succeed again while the fault lasts",
    "whole": "no request fails at all",
    "down": "the Service is down at the end of the fault",
}


def promises(plan: Plan, findings: Sequence[Finding], *, is_proven: bool) -> tuple[Promise, ...]:
    """In the order in which they matter. Without a proven fault nothing is known of any."""
    return tuple(
        Promise(text=declared.text, is_kept=_is_kept(findings, declared) if is_proven else None)
        for declared in _declared(plan)
    )


class Declared(NamedTuple):
    """A promise, the check that looks at it, and which of that check's findings are about it ('': all)."""

    text: str
    check: str
    subject: str = ""
    topic: str = ""


def _declared(plan: Plan) -> Iterator[Declared]:
    expect = plan.drill.expect
    yield from _of_nodes(plan)
    for part, goes in expect.pods.items():
        if goes != "any":
            yield Declared(f"{part}: {_PODS[goes]}", "pods", part)
    if expect.preempts:
        yield Declared("one pod of low priority goes for that of high priority, and its successor waits", "preempts")
    if expect.rebalances:
        yield Declared("what returns stays empty until the descheduler runs, and is used again then", "rebalances")
    if expect.service != "any":
        yield Declared(_SERVICE[expect.service], "service")
    if expect.noticed_by:
        yield Declared(f"clients notice: requests of the stream {expect.noticed_by} fail", "noticed")
    if expect.others_untouched:
        besides = ", but for those that the drill is about" if expect.preempts or expect.rebalances else ""
        yield Declared(f"no pod on another machine is restarted or moved{besides}", "untouched")
    yield from _of_the_return(plan)
    if plan.drill.recovered_within_s is not None:
        yield Declared(f"all is recovered within {plan.drill.recovered_within_s:g} s", "thresholds", topic="late")
    if plan.drill.failed_at_most is not None:
        yield Declared(f"at most {plan.drill.failed_at_most} requests fail", "thresholds", topic="too-many-failed")
    yield Declared("the lab is whole again, and nothing is left over", "recovery")


def _of_nodes(plan: Plan) -> Iterator[Declared]:
    expect = plan.drill.expect
    if expect.node != "any":
        for victim in plan.victims:
            yield Declared(f"{victim.name} {_NODE[expect.node]}", "node", victim.name)
    if expect.condition:
        yield Declared(f"a node says {expect.condition}", "condition")


def _of_the_return(plan: Plan) -> Iterator[Declared]:
    expect = plan.drill.expect
    if expect.returns and expect.node in ("unreachable", "not-ready", "shuts-down", "deleted"):
        for victim in plan.victims:
            yield Declared(f"{victim.name} is Ready again after the heal", "returned", victim.name)
    if expect.returns_empty:
        yield Declared("nothing moves back by itself", "returned", topic="moved-back")


def _is_kept(findings: Sequence[Finding], declared: Declared) -> bool | None:
    levels = {
        finding.level
        for finding in findings
        if finding.check == declared.check
        and (
            finding.topic == "crashed"
            or (declared.subject in ("", finding.subject) and declared.topic in ("", finding.topic))
        )
    }
    if "fail" in levels:
        return False
    return None if "inconclusive" in levels else True
