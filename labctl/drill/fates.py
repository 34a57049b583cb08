"""Whether nodes and pods went as a drill expects: checks of the judge. Pure.

What must not happen is looked for as hard as what must: a node that should stay and did not is a failure, and so is a
pod that came back though nobody should have made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labctl.drill.declare import SAID, PodsGo
from labctl.drill.model import Tracked
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Level, Remark
from labctl.drill.workload import PART

Said = Iterable[Remark]
JUDGED = {"nodes", "pods"}
"""Watches that checks rest on."""
_UNTIL_HEALED = "while the fault lasted"


def absence(timeline: Timeline) -> Level:
    """How much the absence of something weighs: it may merely not have been looked for."""
    has_gap = any(gap["what"] in JUDGED for gap in timeline.gaps)
    is_expected = not timeline.plan.drill.expect.api_answers
    return "inconclusive" if timeline.crashes or (has_gap and not is_expected) else "fail"


def node(timeline: Timeline) -> Said:
    """What Kubernetes made of each victim."""
    expected = timeline.plan.drill.expect.node
    if not timeline.proven or expected == "any":
        return
    for victim in timeline.plan.victims:
        seen = timeline.since_fault("not_ready", victim.name)
        if expected == "stays" and seen is not None:
            text = f"{victim.name} became NotReady after {seen:.1f} s; it should have stayed Ready"
            yield Remark("fail", text, "false-alarm", victim.name)
        elif expected != "stays" and seen is None:
            yield Remark(absence(timeline), f"{victim.name} did not become NotReady", "unnoticed", victim.name)
        elif expected in SAID and victim.name not in timeline.said_so:
            text = f"{victim.name} became NotReady because its heartbeats stayed away; it did not say so itself"
            yield Remark("fail", text, "unannounced", victim.name)


def pods(timeline: Timeline) -> Said:
    """What became of each part's pods that were on a victim."""
    if not timeline.proven:
        return
    for part, expected in timeline.plan.drill.expect.pods.items():
        tracked = timeline.plan.part(part)
        if tracked is None or expected == "any":
            continue
        if not tracked.lost:
            text = f"{part}: none of its pods was on a victim, so nothing was seen of them"
            yield Remark("inconclusive", text, "not-seen", part)
            continue
        yield from _FATES[expected](timeline, tracked)


def condition(timeline: Timeline) -> Said:
    """Whether the node said of itself what it should."""
    wanted = timeline.plan.drill.expect.condition
    if timeline.proven and wanted and wanted not in timeline.conditions:
        yield Remark(absence(timeline), f"no victim had the condition {wanted}")


def _replaced(timeline: Timeline, part: Tracked) -> Said:
    if ("replaced", part.part) not in timeline.marks:
        text = f"{part.part}: the lost pods did not come back elsewhere ({_last(timeline, part)})"
        yield Remark(absence(timeline), text, "not-replaced", part.part)


def _lost(timeline: Timeline, part: Tracked) -> Said:
    for text in timeline.again.get(part.part, []):
        yield Remark("fail", f"{part.part}: it came back: {text}", "came-back", part.part)
    yield from _leaves(timeline, part)


def _leaves(timeline: Timeline, part: Tracked) -> Said:
    if _evicted_in_time(timeline, part):
        return
    alive = {pod["uid"] for pod in timeline.snapshots.get("after", []) if not pod["deletion_timestamp"]}
    still = [lost.name for lost in part.lost if lost.uid in alive]
    if still:
        level: Level = "inconclusive" if timeline.crashes else "fail"
        text = f"{part.part}: {', '.join(still)} was not evicted, and runs on"
        yield Remark(level, text, "not-evicted", part.part)
    else:
        yield Remark(absence(timeline), f"{part.part}: its pods were not evicted", "not-evicted", part.part)


def _evicted_in_time(timeline: Timeline, part: Tracked) -> bool:
    return all(lost.uid in timeline.evicted for lost in part.lost)


def _waits(timeline: Timeline, part: Tracked) -> Said:
    """Asked to go, and no successor while the fault lasted."""
    yield from _leaves(timeline, part)
    yield from _no_successor(timeline, part)


def _no_successor(timeline: Timeline, part: Tracked) -> Said:
    mark = timeline.since_fault("replaced", part.part)
    if mark is not None:
        text = f"{part.part}: it was replaced after {mark:.1f} s; it should have waited for its machine"
        yield Remark("fail", text, "replaced-early", part.part)


def _pending(timeline: Timeline, part: Tracked) -> Said:
    """Asked to go, and a successor that finds no place."""
    yield from _leaves(timeline, part)
    yield from _no_successor(timeline, part)
    held = timeline.snapshots.get("held")
    if held is None:
        text = f"{part.part}: the pods were not listed before the heal"
        yield Remark("inconclusive", text, "not-seen", part.part)
    elif not any(p["labels"].get(PART) == part.part and not p["node"] and p["phase"] == "Pending" for p in held):
        yield Remark("fail", f"{part.part}: no successor is Pending {_UNTIL_HEALED}", "no-successor", part.part)


def _stays(timeline: Timeline, part: Tracked) -> Said:
    """Neither asked to go, nor made anew."""
    for lost in part.lost:
        gone = timeline.evicted.get(lost.uid)
        if gone is not None and timeline.fault is not None:
            text = f"{part.part}: {lost.name} was asked to go after {gone - timeline.fault:.1f} s; it should stay"
            yield Remark("fail", text, "did-not-stay", part.part)
    yield from _is_there(timeline, part)


def _most_stay(timeline: Timeline, part: Tracked) -> Said:
    """None asked to go but those of one node, which may be tainted before most of them are NotReady."""
    nodes = sorted({lost.node for lost in part.lost if lost.uid in timeline.evicted})
    if len(nodes) > 1:
        text = f"{part.part}: pods on {', '.join(nodes)} were asked to go; those of one node at most should be"
        yield Remark("fail", text, "did-not-stay", part.part)
    yield from _is_there(timeline, part)


def _is_there(timeline: Timeline, part: Tracked) -> Said:
    after = timeline.snapshots.get("after")
    if after is None:
        yield _unlisted(part)
        return
    uids = {pod["uid"] for pod in after}
    for lost in part.lost:
        if lost.uid not in uids and lost.uid not in timeline.evicted:
            yield Remark("fail", f"{part.part}: {lost.name} is gone; it should have stayed", "did-not-stay", part.part)


def _unlisted(part: Tracked) -> Remark:
    return Remark("inconclusive", f"{part.part}: the pods were not listed at the end", "not-seen", part.part)


def _restarted(timeline: Timeline, part: Tracked) -> Said:
    """The same pod, and its containers started again in place."""
    yield from _stays(timeline, part)
    before, after = (_by_uid(timeline, name) for name in ("before", "after"))
    for lost in part.lost:
        if lost.uid in before and lost.uid in after and after[lost.uid]["restarts"] <= before[lost.uid]["restarts"]:
            yield Remark("fail", f"{part.part}: {lost.name} was not restarted", "not-restarted", part.part)


def _again(timeline: Timeline, part: Tracked) -> Said:
    """Replaced, or made anew on the machine itself: as many Ready at the end as shall be."""
    after = timeline.snapshots.get("after")
    if after is None:
        yield _unlisted(part)
        return
    ready = sum(pod["ready"] for pod in after if pod["labels"].get(PART) == part.part and not pod["deletion_timestamp"])
    if ready < part.wanted:
        text = f"{part.part}: {ready} of {part.wanted} pods are Ready at the end"
        yield Remark(absence(timeline), text, "too-few", part.part)


def _by_uid(timeline: Timeline, name: str) -> dict[str, dict[str, Any]]:
    return {pod["uid"]: pod for pod in timeline.snapshots.get(name, [])}


def _last(timeline: Timeline, part: Tracked) -> str:
    if ("evicted", part.part) in timeline.marks:
        return "last seen: evicted"
    seen = [name for name in ("tainted", "not_ready") if timeline.has(name)]
    return f"last seen: {seen[0]}" if seen else "not even NotReady was seen"


_FATES: dict[PodsGo, Callable[[Timeline, Tracked], Said]] = {
    "replaced": _replaced,
    "again": _again,
    "lost": _lost,
    "waits": _waits,
    "pending": _pending,
    "stays": _stays,
    "most-stay": _most_stay,
    "restarted": _restarted,
}
