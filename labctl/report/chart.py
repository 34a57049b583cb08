"""What pages draw: rows of boxes and marks on one scale, in seconds after the fault. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from labctl.drill.history import Entry
from labctl.drill.timeline import Request, Timeline
from labctl.drill.verdict import Stage, StreamSummary, Verdict
from labctl.report.words import WORDS, failed_share, failures, predicted

_BINS = 240
_TICKS = 9
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600)
_FASTEST_S = 0.0005
"""the lower end of the latency's logarithmic scale"""
_SLOWEST_S = 0.02
"""its upper end is no less"""
_BEFORE_S, _AFTER_S = 5.0, 2.0
_NAMED = 9.0
"""percent of the width that a phase needs to bear its name"""
_POWERS = (0.001, 0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """From `start` to `end`, in seconds."""

    start: float
    end: float

    def at(self, seconds: float) -> float:
        """Percent from the left; what is outside is at the edge."""
        share = (seconds - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def width(self, start: float, end: float) -> float:
        """Percent between two instants."""
        return round(self.at(end) - self.at(start), 2)

    @property
    def ticks(self) -> list[int]:
        """Round seconds, some of them."""
        step = next((s for s in _STEPS if (self.end - self.start) / s <= _TICKS), _STEPS[-1])
        first = math.ceil(self.start / step) * step
        return list(range(first, math.floor(self.end) + 1, step))


@dataclass(frozen=True)
class Box:
    """Something on a row, in percent of its width; `kind` is its class in the style sheet."""

    kind: str
    left: float
    width: float
    words: str
    """for whoever points at it"""
    text: str = ""
    height: float = 100.0


@dataclass(frozen=True)
class Plot:
    """The latencies of a stream as SVG paths in 1000 x 100 units: the median, and from there to the slowest."""

    spread: str
    middle: str
    grid: tuple[tuple[str, float], ...]
    """latencies in words, and their percent from the top"""


@dataclass(frozen=True)
class Row:
    """A lane: its name, what is on it, and what it says in figures."""

    name: str
    about: str = ""
    boxes: tuple[Box, ...] = ()
    value: str = ""
    aside: str = ""
    is_odd: bool = False
    plot: Plot | None = None


@dataclass(frozen=True)
class Chart:
    """All that is drawn: rows under headings, and how long the fault lasted."""

    scale: Scale
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    off: Box | None

    @property
    def rows(self) -> dict[tuple[str, str], Row]:
        """All rows by name and what they are about."""
        return {(row.name, row.about): row for _, rows in self.groups for row in rows}


@dataclass(frozen=True)
class Bin:
    """Requests that were due within a short while from `at`: latencies in seconds (None: none was answered)."""

    at: float
    ok: int
    failed: Counter[str]
    middle_s: float | None
    slowest_s: float | None

    @property
    def failed_share(self) -> float:
        """0 to 1."""
        bad = self.failed.total()
        return bad / (bad + self.ok)

    def words(self) -> str:
        """For whoever points at it."""
        failed = "".join(f", {count} {kind}" for kind, count in sorted(self.failed.items()))
        return f"{self.at:.1f} s: {self.ok} ok{failed}"


def chart(verdict: Verdict, timeline: Timeline) -> Chart | None:
    """The chart of a run; None if its fault was never asked for."""
    fault = timeline.fault
    if fault is None:
        return None
    heal = None if timeline.healed is None else timeline.healed - fault
    scale = _scale(verdict, timeline, fault, heal)
    end = scale.end if heal is None else min(heal, scale.end)
    stages = verdict.stages if timeline.proven else ()
    returns = [(stage, _asked(stage, timeline, fault)) for stage in stages if stage.name == "returned"]
    groups = (
        ("What was done", tuple(_done(timeline, scale, fault, end))),
        ("The node" if len(timeline.plan.victims) == 1 else "The nodes", tuple(_nodes(timeline, stages, scale, fault))),
        ("The pods", tuple(_pods(timeline, stages, scale, fault))),
        ("The clients", tuple(_clients(verdict, timeline, stages, scale, fault))),
        ("The return", tuple(_stage(stage, scale, asked) for stage, asked in returns)),
    )
    off = Box("off", scale.at(0), scale.width(0, end), "the fault lasts") if timeline.proven else None
    return Chart(scale, tuple((title, rows) for title, rows in groups if rows), off)


def _scale(verdict: Verdict, timeline: Timeline, fault: float, heal: float | None) -> Scale:
    """From shortly before the fault to the last thing that happened: what comes after it is clean-up."""
    last = max([timeline.last, *timeline.phases.values()]) - fault
    start = max(-_BEFORE_S, timeline.phases.get("baseline", fault) - fault)
    marks = [instant(stage, _asked(stage, timeline, fault)) for stage in verdict.stages]
    seen = max([heal or 0.0, *(mark for mark in marks if mark is not None)])
    return Scale(start, max(start + 1.0, min(last, seen + _AFTER_S) if seen else last))


def instant(stage: Stage, asked: float) -> float | None:
    """When it was seen, in seconds after the fault. `asked`: what it is counted from, in these seconds."""
    return None if stage.measured_s is None else stage.measured_s + asked


def _asked(stage: Stage, timeline: Timeline, fault: float) -> float:
    """What the stage is counted from, in seconds after the fault: of `returned`, when the machine was let go."""
    asked = timeline.return_asked(stage.subject) if stage.since == "heal" else None
    return 0.0 if asked is None else asked - fault


def _done(timeline: Timeline, scale: Scale, fault: float, end: float) -> Iterator[Row]:
    begun = sorted(timeline.phases.items(), key=lambda item: item[1])
    ends = [*(t - fault for _, t in begun[1:]), scale.end]
    phases = [(name, t - fault, until) for (name, t), until in zip(begun, ends, strict=True) if t - fault < scale.end]
    yield Row("the drill", boxes=tuple(_phase(scale, *phase) for phase in phases))
    for step in timeline.plan.drill.setup:
        box = Box("setup", 0, scale.at(end), f"{step.fault}, before the baseline and until the heal")
        yield Row(step.fault, step.target, (box,), "before")
    yield from _faults(timeline, scale, fault, end)


def _phase(scale: Scale, name: str, start: float, end: float) -> Box:
    width = scale.width(start, end)
    return Box("phase", scale.at(start), width, f"{name}, from {start:.1f} s", name if width >= _NAMED else "")


def _faults(timeline: Timeline, scale: Scale, fault: float, end: float) -> Iterator[Row]:
    """A row for each fault and its machines, with a box for each time that it was done."""
    said: dict[tuple[str, str], list[Entry]] = {}
    for entry in timeline.steps:
        if entry["step"] in ("call", "undone") and entry["fault"] != "nothing":
            said.setdefault((entry["fault"], ", ".join(entry["machines"])), []).append(entry)
    for (name, machines), entries in said.items():
        spans = list(_spans(entries, fault, end))
        boxes = [Box("fault", scale.at(a), scale.width(a, b), f"{name}, {a:.1f} to {b:.1f} s") for a, b in spans]
        first, seconds = spans[0][0] if spans else 0.0, sum(b - a for a, b in spans)
        aside = f"from {first:.1f} s" if len(spans) == 1 else f"{len(spans)} times, from {first:.1f} s"
        yield Row(name, machines, tuple(boxes), f"{seconds:.1f} s", aside)


def _spans(entries: Sequence[Entry], fault: float, end: float) -> Iterator[tuple[float, float]]:
    """From each time that it was done until it was undone, or the heal."""
    turns = [(entry["step"], max(0.0, entry["t"] - fault)) for entry in entries]
    for (step, start), (_, until) in pairwise([*turns, ("heal", end)]):
        if step == "call":
            yield start, max(start, until)


def _nodes(timeline: Timeline, stages: Sequence[Stage], scale: Scale, fault: float) -> Iterator[Row]:
    for victim in timeline.plan.victims:
        beat = timeline.heartbeats.get(victim.name)
        if beat is not None and ("not_ready", victim.name) in timeline.marks:
            yield _grace(timeline, scale, victim.name, beat - fault)
        yield from (_stage(s, scale) for s in stages if s.name in ("not_ready", "tainted") and s.subject == victim.name)
    for name, t in timeline.conditions.items():
        mark = Box("mark", scale.at(t - fault), 0, f"{name}, {t - fault:.1f} s")
        yield Row(f"node says {name}", boxes=(mark,), value=f"{t - fault:.1f} s")


def _grace(timeline: Timeline, scale: Scale, victim: str, beat: float) -> Row:
    """The lease expires when the grace period after the last heartbeat is over."""
    over = beat + timeline.plan.settings.grace_s
    words = f"last heartbeat at {beat:.1f} s, the grace period is over at {over:.1f} s"
    mark = Box("beat", scale.at(beat), 0, f"last heartbeat, {beat:.1f} s")
    boxes = (Box("grace", scale.at(beat), scale.width(beat, over), words), mark)
    return Row("grace since the last heartbeat", victim, boxes, f"{over:.1f} s", f"since {beat:.1f} s")


def _pods(timeline: Timeline, stages: Sequence[Stage], scale: Scale, fault: float) -> Iterator[Row]:
    for tracked in timeline.plan.tracked:
        each = [
            (lost.name, timeline.evicted[lost.uid] - fault) for lost in tracked.lost if lost.uid in timeline.evicted
        ]
        thin = tuple(Box("thin", scale.at(t), 0, f"{name}, {t:.1f} s") for name, t in each)
        for stage in stages:
            if stage.subject == tracked.part and stage.name in ("evicted", "replaced", "rebalanced"):
                yield _stage(stage, scale, more=thin if stage.name == "evicted" and len(each) > 1 else ())
    yield from (_stage(stage, scale) for stage in stages if stage.name == "preempted")


def _clients(
    verdict: Verdict, timeline: Timeline, stages: Sequence[Stage], scale: Scale, fault: float
) -> Iterator[Row]:
    yield from (_stage(stage, scale) for stage in stages if stage.name == "service_restored")
    streams = {
        s.name: _bins(scale, fault, [r for r in timeline.requests if r.stream == s.name]) for s in verdict.requests
    }
    slowest = max([b.slowest_s for bins in streams.values() for b in bins if b.slowest_s], default=0.0)
    for summary in verdict.requests:
        bins = streams[summary.name]
        yield _stream(timeline, summary, bins, scale, max(slowest, _SLOWEST_S))


def _stream(timeline: Timeline, summary: StreamSummary, bins: Sequence[Bin], scale: Scale, slowest_s: float) -> Row:
    spec = next(stream.spec for stream in timeline.plan.streams if stream.spec.name == summary.name)
    # As wide as its share of time: bins that hold no request of a slow stream are no gaps.
    width = round(max(100 / _BINS, scale.width(scale.start, scale.start + 1 / spec.rate)) + 0.05, 2)
    bad = tuple(Box("bad", scale.at(b.at), width, b.words(), height=100 * b.failed_share) for b in bins if b.failed)
    kept = "kept connections" if spec.keep_alive else "new connections"
    about = f"{spec.rate:g}/s, {kept} through the {spec.via}"
    failed = summary.sent - summary.ok
    value = f"{failed} of {summary.sent} failed" if failed else f"all {summary.sent} answered"
    aside = f"{failed_share(summary)}: {failures(summary)}" if failed else ""
    return Row(f"requests, {summary.name}", about, bad, value, aside, plot=_plot(bins, scale, slowest_s))


def _stage(stage: Stage, scale: Scale, asked: float = 0.0, *, more: tuple[Box, ...] = ()) -> Row:
    boxes = []
    if stage.predicted_s:
        boxes.append(band_box(scale, stage.predicted_s[0] + asked, stage.predicted_s[1] + asked))
    mark = instant(stage, asked)
    if mark is not None:
        boxes.append(Box("mark odd" if stage.is_odd else "mark", scale.at(mark), 0, f"measured, {mark:.1f} s"))
    value = "not seen" if stage.measured_s is None else f"{stage.measured_s:.1f} s"
    return Row(WORDS[stage.name], stage.subject, (*boxes, *more), value, predicted(stage), stage.is_odd)


def band_box(scale: Scale, low: float, high: float, kind: str = "band") -> Box:
    """Where something was predicted; open on the right if the scale ends before the band does."""
    is_cut = high > scale.end
    words = f"predicted {low:.1f} to {high:.1f} s"
    return Box(f"{kind} cut" if is_cut else kind, scale.at(low), scale.width(low, high), words)


def _bins(scale: Scale, fault: float, requests: Iterable[Request]) -> list[Bin]:
    width = (scale.end - scale.start) / _BINS
    found: dict[int, list[Request]] = {}
    for request in requests:
        place = math.floor((request.intended - fault - scale.start) / width)
        if 0 <= place < _BINS:
            found.setdefault(place, []).append(request)
    return [_bin(scale.start + place * width, some) for place, some in sorted(found.items())]


def _bin(at: float, requests: list[Request]) -> Bin:
    took = [request.done - request.intended for request in requests if request.is_ok]
    failed = Counter(request.kind for request in requests if not request.is_ok)
    return Bin(at, len(took), failed, median(took) if took else None, max(took) if took else None)


def _plot(bins: Sequence[Bin], scale: Scale, slowest_s: float) -> Plot:
    answered = [(10 * scale.at(b.at), b.middle_s, b.slowest_s) for b in bins if b.middle_s and b.slowest_s]
    wide = 1000 / _BINS
    return Plot(
        spread="".join(f"M{x:.1f} {_top(m, slowest_s):.1f}V{_top(s, slowest_s):.1f}" for x, m, s in answered),
        middle="".join(f"M{x:.1f} {_top(m, slowest_s):.1f}h{wide:.1f}" for x, m, _ in answered),
        grid=tuple((_latency(power), _top(power, slowest_s)) for power in _POWERS if power <= slowest_s),
    )


def _top(seconds: float, slowest_s: float) -> float:
    """A latency in percent from the top of its plot, on a logarithmic scale."""
    low, high = math.log10(_FASTEST_S), math.log10(slowest_s)
    return round(100 - 100 * (math.log10(max(seconds, _FASTEST_S)) - low) / (high - low), 1)


def _latency(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:g} ms"
