"""Numbers out of a timeline: stages beside their bands, and what became of the requests. Pure."""

from __future__ import annotations

from statistics import median

from labctl.drill.model import Prediction
from labctl.drill.timeline import Request, Timeline
from labctl.drill.verdict import Stage, StreamSummary


def stages(timeline: Timeline) -> tuple[Stage, ...]:
    """All stages, predicted beside measured."""
    return tuple(
        Stage(
            name=p.name,
            subject=p.subject,
            since=p.since,
            predicted_s=(round(p.band.min_s, 2), round(p.band.max_s, 2)) if p.band else None,
            measured_s=rounded(measured := _measure(timeline, p)),
            in_band=None if measured is None or p.band is None else p.band.holds(round(measured, 2)),
            note=p.note,
        )
        for p in timeline.plan.predictions
    )


def _measure(timeline: Timeline, predicted: Prediction) -> float | None:
    if predicted.name == "service_restored":
        return _service_restored(timeline)
    return timeline.since_fault(predicted.name, predicted.subject)


def during_fault(timeline: Timeline, stream: str) -> list[Request]:
    """The requests of a stream that were due between the fault and the heal, in the order in which they were due."""
    if timeline.fault is None:
        return []
    end = float("inf") if timeline.healed is None else timeline.healed
    chosen = [r for r in timeline.requests if r.stream == stream and timeline.fault <= r.intended < end]
    return sorted(chosen, key=lambda r: r.intended)


def summary(timeline: Timeline, stream: str) -> StreamSummary:
    """What became of a stream's requests while the fault lasted."""
    requests = during_fault(timeline, stream)
    bad = [r for r in requests if not r.is_ok]
    kinds = sorted({r.kind for r in bad})
    latencies = [r.done - r.intended for r in requests if r.is_ok]
    start = timeline.fault or 0.0
    return StreamSummary(
        name=stream,
        sent=len(requests),
        ok=len(requests) - len(bad),
        failed={kind: sum(r.kind == kind for r in bad) for kind in kinds},
        first_failed_s=rounded(bad[0].intended - start) if bad else None,
        last_failed_s=rounded(bad[-1].intended - start) if bad else None,
        latency_p50_s=round(median(latencies), 4) if latencies else None,
        latency_max_s=round(max(latencies), 4) if latencies else None,
    )


def _service_restored(timeline: Timeline) -> float | None:
    """When the first request was due after which no new connection failed, as long as the fault lasted."""
    requests = during_fault(timeline, timeline.plan.drill.main_stream)
    failed = [index for index, r in enumerate(requests) if not r.is_ok]
    if not requests or timeline.fault is None:
        return None
    if not failed:
        return 0.0
    after = requests[failed[-1] + 1 :]
    return after[0].intended - timeline.fault if after else None


def baseline_failures(timeline: Timeline) -> list[Request]:
    """Requests of the main stream that failed between the baseline's begin and the fault."""
    start = timeline.phases.get("baseline")
    if start is None:
        return []
    end = float("inf") if timeline.called is None else timeline.called
    main = [r for r in timeline.requests if r.stream == timeline.plan.drill.main_stream]
    return [r for r in main if not r.is_ok and start <= r.intended and r.done < end]


def rounded(seconds: float | None) -> float | None:
    """To hundredths: finer than anything here is known."""
    return None if seconds is None else round(seconds, 2)
