"""Whether a machine that returned stayed empty until the descheduler ran, and then was not. A check. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.drill.declare import Drill
from labctl.drill.fates import Said, absence
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Remark
from labctl.drill.workload import PART


def may_go(drill: Drill, pod: Mapping[str, Any]) -> bool:
    """Whether the drill expects that pods like this one are evicted, wherever they are."""
    is_own = bool(pod["namespace"] == drill.namespace)
    return drill.expect.rebalances and is_own and pod["labels"].get(PART) == "deployment"


def rebalances(timeline: Timeline) -> Said:
    """None of the Deployment's pods on a machine that returned before the descheduler was asked, one afterwards."""
    if not timeline.proven or not timeline.plan.drill.expect.rebalances:
        return
    asked = next((s["t"] for s in timeline.steps if (s["fault"], s["step"]) == ("descheduler", "call")), None)
    if asked is None:
        yield Remark(absence(timeline), "the descheduler was never asked", "not-asked")
        return
    for pod, t in timeline.came_back.items():
        if t < asked:
            text = f"{pod} came {asked - t:.1f} s before the descheduler ran; nothing in Kubernetes does that"
            yield Remark("fail", text, "too-early")
    if ("rebalanced", "deployment") not in timeline.marks:
        yield Remark(absence(timeline), "no pod of the Deployment is Ready on a machine that returned", "never")
        return
    nodes = sorted({*timeline.before_rebalance, *timeline.places("deployment")} | timeline.plan.victim_names)
    counts = [f"{n} {timeline.before_rebalance.get(n, 0)} -> {timeline.places('deployment').get(n, 0)}" for n in nodes]
    yield Remark("info", f"pods before the descheduler ran, and after it: {', '.join(counts)}", "moved")
