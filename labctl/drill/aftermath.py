"""What became of the pods that were on a drill's victims. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Fate

Pod = Mapping[str, Any]
_OF_THE_MACHINE = {"DaemonSet": "its DaemonSet wants it on this node", "Node": "a static pod"}


def fates(timeline: Timeline) -> tuple[Fate, ...]:
    """Of all pods that ran on a victim before the fault; none if pods were not listed before and after it."""
    before, after = (timeline.snapshots.get(name) for name in ("before", "after"))
    if before is None or after is None:
        return ()
    here = [pod for pod in before if pod["node"] in timeline.plan.victim_names and pod["phase"] == "Running"]
    known = {pod["uid"] for pod in before}
    new = [pod for pod in after if pod["uid"] not in known]
    now = {pod["uid"]: pod for pod in after if not pod["deletion_timestamp"]}
    ordered = sorted(here, key=lambda pod: (pod["owner_kind"] in _OF_THE_MACHINE, _name(pod)))
    return tuple(_fate(timeline, pod, now.get(pod["uid"]), new) for pod in ordered)


def _fate(timeline: Timeline, pod: Pod, now: Pod | None, new: Sequence[Pod]) -> Fate:
    text, is_lost = _said(timeline, pod, now, new)
    owner = f"{pod['owner_kind']} {pod['owner_name']}".strip() or "nobody"
    return Fate(pod=_name(pod), owner=owner, text=text, is_lost=is_lost, node=pod["node"])


def _said(timeline: Timeline, pod: Pod, now: Pod | None, new: Sequence[Pod]) -> tuple[str, bool]:
    """In words, and whether it is lost for good."""
    if now:
        return _kept(pod, now), False
    gone = timeline.evicted.get(pod["uid"])
    when = "" if gone is None or timeline.fault is None else f" after {gone - timeline.fault:.1f} s"
    if any(pod["uid"] == lost.uid for lost in timeline.plan.restore):
        return "evicted; labctl puts it back when the drill ends", False
    heirs = [p for p in new if pod["owner_kind"] and _owner(p) == _owner(pod)]
    if heirs:
        same = [heir for heir in heirs if heir["name"] == pod["name"]]
        where = ", ".join(sorted(f"{heir['name']} on {heir['node'] or 'no node'}" for heir in same or heirs))
        return f"evicted{when}; its owner made {where}", False
    return f"evicted{when}; nobody made it again", True


def _kept(pod: Pod, now: Pod) -> str:
    reason = _OF_THE_MACHINE.get(pod["owner_kind"], "never evicted")
    restarts = now["restarts"] - pod["restarts"]
    again = {0: "", 1: "; restarted once"}.get(restarts, f"; restarted {restarts} times")
    return f"stayed: {reason}{again}"


def _owner(pod: Pod) -> tuple[str, str, str]:
    return pod["namespace"], pod["owner_kind"], pod["owner_name"]


def _name(pod: Pod) -> str:
    return f"{pod['namespace']}/{pod['name']}"
