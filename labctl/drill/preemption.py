"""Whether a pod of low priority went for one of high priority. A check of the judge. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labctl.drill.declare import Drill
from labctl.drill.fates import Said, absence
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Level, Remark
from labctl.drill.workload import HIGH, LOW, PART

Pod = Mapping[str, Any]


def may_go(drill: Drill, pod: Pod) -> bool:
    """Whether the drill expects that pods like this one are preempted, wherever they are."""
    return drill.expect.preempts and pod["namespace"] == drill.namespace and pod["labels"].get(PART) == LOW


def preempts(timeline: Timeline) -> Said:
    """The pod of high priority runs; for it one of low priority went, whose successor is Pending, and nobody else."""
    if not timeline.proven or not timeline.plan.drill.expect.preempts:
        return
    if ("preempted", HIGH) not in timeline.marks:
        yield Remark(absence(timeline), "the pod of high priority does not run")
    low = {pod["name"] for pod in _of_part(timeline.snapshots.get("before", []), LOW)}
    for name in sorted(timeline.preempted - low):
        yield Remark("fail", f"{name} was preempted, which has no low priority")
    gone = sorted(timeline.preempted & low)
    if not gone:
        yield Remark(_unheard(timeline), "no pod of low priority was preempted")
    held = timeline.snapshots.get("held")
    if held is None:
        yield Remark("inconclusive", "the pods were not listed before the heal")
        return
    waiting = [pod for pod in _of_part(held, LOW) if pod["phase"] == "Pending" and not pod["node"]]
    if not waiting:
        yield Remark("fail", "no successor of a pod of low priority is Pending: there was room for all")
    elif gone:
        high = _places(_of_part(held, HIGH))
        yield Remark(
            "info", f"{', '.join(gone)} went for {high}; {', '.join(pod['name'] for pod in waiting)} is Pending"
        )


def _of_part(pods: Iterable[Pod], part: str) -> list[Pod]:
    return [pod for pod in pods if pod["labels"].get(PART) == part and not pod["deletion_timestamp"]]


def _places(pods: Iterable[Pod]) -> str:
    return ", ".join(sorted(f"{pod['name']} on {pod['node'] or 'no node'}" for pod in pods))


def _unheard(timeline: Timeline) -> Level:
    """How much it weighs that no event was seen."""
    return "inconclusive" if any(gap["what"] == "events" for gap in timeline.gaps) else absence(timeline)
