"""What a drill's page draws: lanes and bins on one scale, in seconds after the fault. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from labctl.drill.model import Stage, Verdict
from labctl.drill.timeline import Request, Timeline

_BINS = 240
_TICKS = 10
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600)
_FASTEST_S = 0.0005
"""the lower end of the latency's logarithmic scale"""
_BEFORE_S, _AFTER_S = 5.0, 2.0


@dataclass(frozen=True)
class Scale:
    """From `start` to `end`."""

    start: float
    end: float

    def at(self, seconds: float) -> float:
        """Percent from the left; what is outside is at the edge."""
        share = (seconds - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def width(self, start: float, end: float) -> float:
        """Percent between two instants."""
        return round(self.at(end) - self.at(start), 3)

    @property
    def ticks(self) -> list[int]:
        """Round seconds, about ten."""
        step = next((s for s in _STEPS if (self.end - self.start) / s <= _TICKS), _STEPS[-1])
        first = math.ceil(self.start / step) * step
        return list(range(first, math.floor(self.end) + 1, step))


@dataclass(frozen=True)
class Lane:
    """A stage: where it was predicted, and where it was seen. Seconds after the fault, `returned` among them."""

    stage: Stage
    band: tuple[float, float] | None
    mark: float | None


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


@dataclass(frozen=True)
class Chart:
    """All that is drawn."""

    scale: Scale
    phases: list[tuple[str, float, float]]
    """name, start, end"""
    off: tuple[float, float] | None
    """from the fault to the heal"""
    lanes: list[Lane]
    steps: list[tuple[str, float]]
    """later steps and what was undone in the middle: name, instant"""
    heartbeats: list[tuple[str, float, float]]
    """machine, its last heartbeat, the end of the grace period that it began"""
    streams: dict[str, list[Bin]]
    slowest_s: float

    def height(self, seconds: float) -> float:
        """A latency in percent of the plot's height, on a logarithmic scale."""
        low, high = math.log10(_FASTEST_S), math.log10(max(self.slowest_s, 0.01))
        return round(100 * (math.log10(max(seconds, _FASTEST_S)) - low) / (high - low), 2)

    @property
    def grid(self) -> list[float]:
        """Powers of ten, in seconds, that the plot has lines for."""
        return [power for power in (0.001, 0.01, 0.1, 1.0) if power <= max(self.slowest_s, 0.01)]


def chart(verdict: Verdict, timeline: Timeline) -> Chart | None:
    """The chart of a run; None if its fault was never asked for."""
    fault = timeline.fault
    if fault is None:
        return None
    ends = [timeline.last, *(phase for phase in timeline.phases.values())]
    last = max(ends) - fault
    start = max(-_BEFORE_S, timeline.phases.get("baseline", fault) - fault)
    heal = None if timeline.healed is None else timeline.healed - fault
    lanes = [_lane(stage, heal) for stage in verdict.stages]
    # What comes after the last stage is clean-up.
    drawn = [lane.mark for lane in lanes if lane.mark is not None] + [heal or 0.0]
    scale = Scale(start, min(last, max(drawn) + _AFTER_S) if max(drawn) else last)
    names = [stream.spec.name for stream in timeline.plan.streams]
    streams = {name: _bins(scale, fault, [r for r in timeline.requests if r.stream == name]) for name in names}
    slowest = [b.slowest_s for bins in streams.values() for b in bins if b.slowest_s is not None]
    return Chart(
        scale=scale,
        phases=_phases(timeline, fault, scale.end),
        off=(0.0, scale.end if heal is None else heal) if timeline.proven else None,
        lanes=lanes,
        steps=_steps(timeline, fault),
        heartbeats=_heartbeats(timeline, fault),
        streams=streams,
        slowest_s=max(slowest, default=0.01),
    )


def _lane(stage: Stage, heal: float | None) -> Lane:
    """`returned` is counted from the heal: its instants are moved there."""
    start = (heal or 0.0) if stage.since == "heal" else 0.0
    band = (stage.predicted_s[0] + start, stage.predicted_s[1] + start) if stage.predicted_s else None
    return Lane(stage, band, None if stage.measured_s is None else stage.measured_s + start)


def _steps(timeline: Timeline, fault: float) -> list[tuple[str, float]]:
    if len(timeline.plan.steps) < 2:  # noqa: PLR2004 - the first one is the fault itself
        return []
    said = [entry for entry in timeline.steps if entry["step"] in ("call", "undone")]
    return [
        (f"{'undo ' if entry['step'] == 'undone' else ''}{entry['fault']}", round(entry["t"] - fault, 2))
        for entry in said
    ]


def _heartbeats(timeline: Timeline, fault: float) -> list[tuple[str, float, float]]:
    """Of victims that became NotReady: for the others it never ended."""
    grace = timeline.plan.settings.grace_s
    lost = [victim.name for victim in timeline.plan.victims if ("not_ready", victim.name) in timeline.marks]
    found = [(name, timeline.heartbeats[name] - fault) for name in lost if name in timeline.heartbeats]
    return [(name, round(t, 2), round(t + grace, 2)) for name, t in found]


def _phases(timeline: Timeline, fault: float, end: float) -> list[tuple[str, float, float]]:
    begun = sorted(timeline.phases.items(), key=lambda item: item[1])
    ends: Sequence[float] = [*(t - fault for _, t in begun[1:]), end]
    return [(name, t - fault, until) for (name, t), until in zip(begun, ends, strict=True) if t - fault < end]


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
