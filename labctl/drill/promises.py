"""What a drill declared before the run, in sentences, and which of them were kept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labctl.drill.declare import NodeGoes, PodsGo, ServiceGoes
from labctl.drill.model import Finding, Plan, Promise

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
        Promise(text=text, is_kept=_is_kept(findings, check, start) if is_proven else None)
        for text, check, start in _declared(plan)
    )


def _declared(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Each promise, the check that looks at it, and how that check's findings about it begin."""
    expect = plan.drill.expect
    yield from _of_nodes(plan)
    for part, goes in expect.pods.items():
        if goes != "any":
            yield f"{part}: {_PODS[goes]}", "pods", f"{part}:"
    if expect.preempts:
        yield "one pod of low priority goes for that of high priority, and its successor waits", "preempts", ""
    if expect.rebalances:
        yield "what returns stays empty until the descheduler runs, and is used again then", "rebalances", ""
    if expect.service != "any":
        yield _SERVICE[expect.service], "service", ""
    if expect.noticed_by:
        yield f"clients notice: requests of the stream {expect.noticed_by} fail", "noticed", ""
    if expect.others_untouched:
        besides = ", but for those that the drill is about" if expect.preempts or expect.rebalances else ""
        yield f"no pod on another machine is restarted or moved{besides}", "untouched", ""
    yield from _of_the_return(plan)
    if plan.drill.recovered_within_s is not None:
        yield f"all is recovered within {plan.drill.recovered_within_s:g} s", "thresholds", "not recovered"
    if plan.drill.failed_at_most is not None:
        yield f"at most {plan.drill.failed_at_most} requests fail", "thresholds", ""
    yield "the lab is whole again, and nothing is left over", "recovery", ""


def _of_nodes(plan: Plan) -> Iterator[tuple[str, str, str]]:
    expect = plan.drill.expect
    if expect.node != "any":
        for victim in plan.victims:
            yield f"{victim.name} {_NODE[expect.node]}", "node", victim.name
    if expect.condition:
        yield f"a node says {expect.condition}", "condition", ""


def _of_the_return(plan: Plan) -> Iterator[tuple[str, str, str]]:
    expect = plan.drill.expect
    if expect.returns and expect.node in ("unreachable", "not-ready", "shuts-down", "deleted"):
        for victim in plan.victims:
            yield f"{victim.name} is Ready again after the heal", "returned", victim.name
    if expect.returns_empty:
        yield "nothing moves back by itself", "returned", "moved back"


def _is_kept(findings: Sequence[Finding], check: str, start: str) -> bool | None:
    levels = {f.level for f in findings if f.check == check and (f.text.startswith(start) or "crashed" in f.text)}
    if check == "thresholds" and not start:
        levels = {f.level for f in findings if f.check == check and not f.text.startswith("not recovered")}
    if "fail" in levels:
        return False
    return None if "inconclusive" in levels else True
