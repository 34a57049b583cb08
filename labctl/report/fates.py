"""What became of the pods that were on a drill's victim. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labctl.drill.timeline import Timeline

Pod = Mapping[str, Any]
_OF_THE_MACHINE = {"DaemonSet": "its DaemonSet wants it on this node", "Node": "a static pod"}


@dataclass(frozen=True)
class Fate:
    """A pod (``namespace/name``), who made it, and what became of it."""

    pod: str
    owner: str
    text: str
    is_lost: bool = False


def fates(timeline: Timeline) -> list[Fate]:
    """Of all pods that ran on the victim before the fault; none if pods were not listed before and after it."""
    before, after = (timeline.snapshots.get(name) for name in ("before", "after"))
    if before is None or after is None:
        return []
    here = [pod for pod in before if pod["node"] in timeline.plan.victim_names and pod["phase"] == "Running"]
    known = {pod["uid"] for pod in before}
    new = [pod for pod in after if pod["uid"] not in known]
    now = {pod["uid"]: pod for pod in after if not pod["deletion_timestamp"]}
    ordered = sorted(here, key=lambda pod: (pod["owner_kind"] in _OF_THE_MACHINE, _name(pod)))
    return [_fate(timeline, pod, now.get(pod["uid"]), new) for pod in ordered]


def _fate(timeline: Timeline, pod: Pod, now: Pod | None, new: Sequence[Pod]) -> Fate:
    owner = f"{pod['owner_kind']} {pod['owner_name']}" if pod["owner_kind"] else "nobody"
    if now:
        return Fate(_name(pod), owner, _kept(pod, now))
    gone = timeline.evicted.get(pod["uid"])
    when = "" if gone is None or timeline.fault is None else f" after {gone - timeline.fault:.1f} s"
    if any(pod["uid"] == lost.uid for lost in timeline.plan.restore):
        return Fate(_name(pod), owner, "evicted; labctl puts it back when the drill ends")
    heirs = [p for p in new if pod["owner_kind"] and _owner(p) == _owner(pod)]
    if heirs:
        where = ", ".join(sorted(f"{heir['name']} on {heir['node'] or 'no node'}" for heir in heirs))
        return Fate(_name(pod), owner, f"evicted{when}; its owner made {where}")
    return Fate(_name(pod), owner, f"evicted{when}; nobody made it again", is_lost=True)


def _kept(pod: Pod, now: Pod) -> str:
    reason = _OF_THE_MACHINE.get(pod["owner_kind"], "never evicted")
    restarts = now["restarts"] - pod["restarts"]
    return f"stayed: {reason}" + (f"; restarted {restarts} times" if restarts else "")


def _owner(pod: Pod) -> tuple[str, str, str]:
    return pod["namespace"], pod["owner_kind"], pod["owner_name"]


def _name(pod: Pod) -> str:
    return f"{pod['namespace']}/{pod['name']}"
