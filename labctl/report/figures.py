"""The few numbers that come first: what somebody wants to know who reads nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from labctl.drill.model import Plan
from labctl.drill.verdict import StreamSummary, Verdict
from labctl.report.words import failed_share, predicted

Figure = tuple[str, str, str, bool]
"""its name, its value, what to compare it with, and whether it is odd"""


def figures(verdict: Verdict, plan: Plan) -> list[Figure]:
    """None if the fault was not proven: then no number means anything."""
    if any(finding.check == "injected" and finding.level != "fail" for finding in verdict.findings):
        return []
    return [*_nodes(verdict), *_service(verdict), *_pods(verdict), *_requests(verdict, plan), *_return(verdict)]


def _nodes(verdict: Verdict) -> Iterator[Figure]:
    stages = [stage for stage in verdict.stages if stage.name == "not_ready"]
    seen = [stage.measured_s for stage in stages if stage.measured_s is not None]
    if stages and all(stage.predicted_s is None for stage in stages):
        word = f"NotReady, {_range(seen)}" if seen else "Ready all the time"
        yield "the node was", word, "predicted: never NotReady", bool(seen)
    elif stages:
        value = _range(seen) if seen else "never"
        yield "NotReady after", value, predicted(stages[0]), any(s.is_odd for s in stages)


def _service(verdict: Verdict) -> Iterator[Figure]:
    for stage in verdict.stages:
        if stage.name == "service_restored" and (stage.predicted_s or stage.measured_s):
            if stage.measured_s == 0:
                yield "the service", "never failed", predicted(stage), stage.is_odd
            else:
                value = "never" if stage.measured_s is None else f"{stage.measured_s:.1f} s"
                yield "service whole after", value, predicted(stage), stage.is_odd


def _pods(verdict: Verdict) -> Iterator[Figure]:
    for stage in verdict.stages:
        if stage.name == "replaced" and stage.predicted_s is None and stage.measured_s is None:
            yield stage.subject or "pods", "not replaced", predicted(stage), False
        elif stage.name == "replaced":
            name = f"{stage.subject or 'pods'} elsewhere"
            value = "never" if stage.measured_s is None else f"after {stage.measured_s:.1f} s"
            yield name, value, predicted(stage), stage.is_odd


def _requests(verdict: Verdict, plan: Plan) -> Iterator[Figure]:
    main: StreamSummary | None = next((s for s in verdict.requests if s.name == plan.drill.main_stream), None)
    if main and main.sent:
        failed = main.sent - main.ok
        yield "requests that failed", f"{failed} of {main.sent}", f"{failed_share(main)} of stream {main.name}", False


def _return(verdict: Verdict) -> Iterator[Figure]:
    stages = [stage for stage in verdict.stages if stage.name == "returned"]
    seen = [stage.measured_s for stage in stages if stage.measured_s is not None]
    if seen:
        yield "Ready again after", _range(seen), "counted from the heal", False


def _range(seconds: list[float]) -> str:
    low, high = f"{min(seconds):.1f}", f"{max(seconds):.1f}"
    return f"{low} s" if low == high else f"{low}\N{EN DASH}{high} s"
