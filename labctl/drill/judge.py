"""From a history and its plan to a verdict. Pure: the same files give the same verdict on any machine.

A check is a function of the timeline that returns findings. What a check concludes from something's *absence* is
``inconclusive`` where the run was cut short or a watch had a gap: it may merely not have looked. A number outside its
band is a ``flag``; a stage that should have happened and never did is a failure of the check that expects it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from labctl.drill import fates, history, preemption, rebalance
from labctl.drill.aftermath import fates as fates_of_pods
from labctl.drill.fates import absence
from labctl.drill.history import Entry
from labctl.drill.measure import baseline_failures, during_fault, rounded, stages, summary
from labctl.drill.model import Plan, StageName
from labctl.drill.promises import promises
from labctl.drill.remedies import remedies
from labctl.drill.timeline import Request, Timeline
from labctl.drill.verdict import Finding, Level, Remark, Stage, Verdict, worst

Check = Callable[[Timeline], Iterable[Remark]]

_CAUSES: tuple[StageName, ...] = (
    "not_ready",
    "tainted",
    "evicted",
    "replaced",
    "service_restored",
    "preempted",
    "returned",
    "rebalanced",
)
"""The order in which a deviation is passed on."""
_RECOVERED: tuple[StageName, ...] = ("service_restored", "replaced")
_SERVICE_WINDOW_S = 2.0


def read_run(run_dir: Path) -> Timeline:
    """The history in a run's folder, read with its plan in mind."""
    plan = Plan.model_validate_json((run_dir / "plan.json").read_text(encoding="utf-8"))
    return read_entries(history.read(run_dir / "history.jsonl"), plan)


def read_entries(entries: Iterable[Entry], plan: Plan) -> Timeline:
    """Entries of a history, read with `plan` in mind."""
    timeline = Timeline(plan)
    for entry in entries:
        timeline.feed(entry)
    return timeline


def judge(timeline: Timeline, run_dir: Path) -> Verdict:
    """Judge a whole history."""
    plan = timeline.plan
    findings = tuple(finding for name, check in CHECKS.items() for finding in _findings(name, check, timeline))
    return Verdict(
        drill=plan.drill.name,
        lab=plan.lab,
        verdict=worst(findings),
        stages=stages(timeline),
        findings=findings,
        run_dir=str(run_dir),
        victim=plan.victim,
        seed=plan.seed,
        fault_uncertainty_s=rounded(timeline.fault_uncertainty_s),
        requests=tuple(summary(timeline, stream.spec.name) for stream in plan.streams),
        promises=promises(plan, findings, is_proven=bool(timeline.proven)),
        advice=remedies(timeline, findings),
        pods=fates_of_pods(timeline),
        settings=plan.settings,
        host=plan.host,
    )


# -- checks


def _injected(timeline: Timeline) -> Iterable[Remark]:
    if timeline.called is None:
        yield Remark("inconclusive", "the fault was never asked for", "unproven")
        return
    for entry in timeline.steps:
        if entry["step"] == "no-proof":
            unproven = timeline.plan.steps[entry["n"]].unproven
            yield Remark("not-injected", f"no proof that {', '.join(entry['machines'])} {unproven}", "unproven")
    if timeline.proven is None:
        yield Remark(
            "not-injected", f"no proof that {timeline.plan.victim} {timeline.plan.steps[0].unproven}", "unproven"
        )
    done = {entry["n"] for entry in timeline.steps if entry["step"] in ("proof", "undone")}
    for number, planned in enumerate(timeline.plan.steps):
        if timeline.proven and number not in done and not timeline.crashes:
            text = f"step {number + 1} ({planned.step.fault}) never came: what it waits for was not seen"
            yield Remark("fail", text, "step-missing")


def _complete(timeline: Timeline) -> Iterable[Remark]:
    for crash in timeline.crashes:
        yield Remark("inconclusive", f"cut short in the phase {crash['phase']}: {crash['text']}", "cut-short")
    found: dict[Level, list[Entry]] = {}
    for gap in timeline.gaps:
        is_expected = not timeline.plan.drill.expect.api_answers and _is_during_fault(timeline, gap)
        level: Level = "inconclusive" if gap["what"] in fates.JUDGED and not is_expected else "flag"
        found.setdefault(level, []).append(gap)
    for level, gaps in found.items():
        yield Remark(level, _gaps(gaps), "gap")


def _gaps(gaps: Sequence[Entry]) -> str:
    """All of them in one sentence: an hour has dozens, and each is in the history."""
    longest = max(gaps, key=_length)
    watched = ", ".join(dict.fromkeys(gap["what"] for gap in gaps))
    times = "" if len(gaps) == 1 else f", {len(gaps)} times, at the longest"
    return f"the watch of {watched} may have missed something{times} for {_length(longest):.1f} s: {longest['reason']}"


def _length(gap: Entry) -> float:
    """In seconds."""
    return float(gap["end"] - gap["start"])


def _is_during_fault(timeline: Timeline, gap: Entry) -> bool:
    """Whether it began after the fault: it may last until some time after the heal."""
    return timeline.called is not None and bool(gap["end"] >= timeline.called)


def _steady(timeline: Timeline) -> Iterable[Remark]:
    failed = baseline_failures(timeline)
    if failed:
        text = f"no steady state: {len(failed)} requests failed before the fault ({failed[0].kind})"
        yield Remark("inconclusive", text)


def _untouched(timeline: Timeline) -> Iterable[Remark]:
    plan = timeline.plan
    if not timeline.proven or not plan.drill.expect.others_untouched:
        return
    if "before" not in timeline.snapshots or "after" not in timeline.snapshots:
        text = "whether other pods were touched is not known: the pods were not listed at the end"
        yield Remark("inconclusive", text, "not-seen")
        return
    after = {pod["uid"]: pod for pod in timeline.snapshots["after"]}
    for pod in timeline.snapshots["before"]:
        if pod["node"] in plan.victim_names or pod["deletion_timestamp"] or pod["phase"] == "Succeeded":
            continue
        if preemption.may_go(plan.drill, pod) or rebalance.may_go(plan.drill, pod):
            continue
        name = f"{pod['namespace']}/{pod['name']} on {pod['node'] or 'no node'}"
        now = after.get(pod["uid"])
        if now is None:
            yield Remark("fail", f"{name} is gone, although its machine was not touched", "gone")
        elif now["restarts"] > pod["restarts"]:
            yield Remark("fail", f"{name} was restarted, although its machine was not touched", "restarted")


def _weight(failed: Sequence[Request]) -> Level:
    """Requests that the probe itself could not send in time say nothing of the service."""
    return "inconclusive" if all(r.kind == "discarded" for r in failed) else "fail"


def _service(timeline: Timeline) -> Iterable[Remark]:
    expected = timeline.plan.drill.expect.service
    if not timeline.proven or timeline.healed is None or expected == "any":
        return
    requests = during_fault(timeline, timeline.plan.drill.main_stream)
    if expected == "whole":
        bad = [r for r in requests if not r.is_ok]
        if bad:
            text = f"{len(bad)} of {len(requests)} requests failed ({bad[0].kind}); none should have"
            yield Remark(_weight(bad), text, "lost-requests")
        if not requests:
            yield Remark("inconclusive", "the probe sent nothing while the fault lasted", "not-asked")
        return
    late = [r for r in requests if r.intended >= timeline.healed - _SERVICE_WINDOW_S]
    failed = [r for r in late if not r.is_ok]
    if not late:
        yield Remark("inconclusive", "the probe sent nothing at the end of the fault", "not-asked")
    elif expected == "down" and len(failed) < len(late):
        text = f"the service should be down, and {len(late) - len(failed)} of the last {len(late)} were answered"
        yield Remark("fail", text, "not-down")
    elif expected == "restored" and len(failed) > 1:
        is_sent = _weight(failed) == "fail"
        why = "failed" if is_sent else "could not be sent in time"
        text = f"the service was not seen to be whole again: {len(failed)} of the last {len(late)} requests {why}"
        level = "inconclusive" if timeline.crashes else _weight(failed)
        yield Remark(level, text, "not-whole" if is_sent else "unsent")


def _noticed(timeline: Timeline) -> Iterable[Remark]:
    stream = timeline.plan.drill.expect.noticed_by
    if timeline.proven and stream and all(r.is_ok for r in during_fault(timeline, stream)):
        yield Remark(absence(timeline), f"no request of {stream} failed; clients should have noticed")


def _thresholds(timeline: Timeline) -> Iterable[Remark]:
    """What whoever ran the drill demands beyond the drill's own expectation."""
    drill = timeline.plan.drill
    if not timeline.proven:
        return
    if drill.recovered_within_s is not None:
        found = {
            stage.name: stage.measured_s
            for stage in stages(timeline)
            if stage.name in _RECOVERED and stage.subject in ("", "deployment")
        }
        late = {name: seconds for name, seconds in found.items() if _is_beyond(seconds, drill.recovered_within_s)}
        if late:
            level = absence(timeline) if None in late.values() else "fail"
            seen = ", ".join(f"{name.replace('_', ' ')} {_or_never(seconds)}" for name, seconds in late.items())
            yield Remark(level, f"not recovered within {drill.recovered_within_s:g} s: {seen}", "late")
    if drill.failed_at_most is not None:
        failed = sum(not r.is_ok for r in during_fault(timeline, drill.main_stream))
        if failed > drill.failed_at_most:
            text = f"{failed} requests of {drill.main_stream} failed, at most {drill.failed_at_most} may"
            yield Remark("fail", text, "too-many-failed")


def _is_beyond(seconds: float | None, limit_s: float) -> bool:
    return seconds is None or seconds > limit_s


def _or_never(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"


def _returned(timeline: Timeline) -> Iterable[Remark]:
    expect = timeline.plan.drill.expect
    if not timeline.proven:
        return
    for victim in timeline.plan.victims:
        was_lost = ("not_ready", victim.name) in timeline.marks
        if expect.returns and was_lost and ("returned", victim.name) not in timeline.marks:
            yield Remark(absence(timeline), f"{victim.name} did not become Ready again", "away", victim.name)
    if expect.returns_empty and timeline.moved_back:
        text = f"moved back by itself: {', '.join(timeline.moved_back)}; nothing in Kubernetes does that"
        yield Remark("fail", text, "moved-back")


def _leftovers(timeline: Timeline) -> Iterable[Remark]:
    for text in timeline.leftovers:
        yield Remark("fail", f"left over: {text}")


def _bands(timeline: Timeline) -> Iterable[Remark]:
    """Number by number; the first stage that deviates carries the cause, the later ones follow from it."""
    found = sorted(stages(timeline), key=lambda stage: _CAUSES.index(stage.name))
    first: Stage | None = None
    for stage in found:
        if stage.in_band is not False or stage.predicted_s is None:
            continue
        low, high = stage.predicted_s
        text = f"{label(stage)} after {stage.measured_s:.1f} s is outside the predicted {low:.1f}-{high:.1f} s"
        if first and stage.name != "returned":
            yield Remark("flag", f"{text}; {label(first)} deviated before it", first.name)
            continue
        first = first or stage
        late = _late_taint(timeline, stage.measured_s) if stage.name == "tainted" else ""
        yield Remark("flag", text + late, stage.name)


def label(stage: Stage) -> str:
    """A stage's name with its subject, as in ``not ready (lab-worker-1)``."""
    name = stage.name.replace("_", " ")
    return f"{name} ({stage.subject})" if stage.subject else name


def _late_taint(timeline: Timeline, measured: float | None) -> str:
    late = timeline.plan.late_taint
    if late is None or measured is None or not late.holds(measured):
        return ""
    rate = timeline.plan.settings.eviction_rate
    return (
        f"; this fits a known race of kube-controller-manager since 1.37: its taint queue ran before its cache knew"
        f" that the node was NotReady, and --node-eviction-rate={rate:g} grants the next try {1 / rate:.0f} s later"
    )


def _strangers(timeline: Timeline) -> Iterable[Remark]:
    for pod in timeline.plan.strangers:
        where = pod.node or timeline.plan.victim
        text = f"{pod.namespace}/{pod.name} was on {where} and belongs to no controller: it is lost"
        yield Remark("info", f"{text}. A Deployment would have brought it back")


def _requests(timeline: Timeline) -> Iterable[Remark]:
    for stream in timeline.plan.streams:
        name = stream.spec.name
        discarded = sum(r.kind == "discarded" for r in timeline.requests if r.stream == name)
        if discarded:
            text = f"the probe {name} could not send {discarded} requests in time; they count as failed"
            yield Remark("flag", text)


CHECKS: dict[str, Check] = {
    "injected": _injected,
    "complete": _complete,
    "steady": _steady,
    "node": fates.node,
    "pods": fates.pods,
    "condition": fates.condition,
    "preempts": preemption.preempts,
    "rebalances": rebalance.rebalances,
    "untouched": _untouched,
    "service": _service,
    "noticed": _noticed,
    "thresholds": _thresholds,
    "returned": _returned,
    "recovery": _leftovers,
    "bands": _bands,
    "requests": _requests,
    "strangers": _strangers,
}


def _findings(name: str, check: Check, timeline: Timeline) -> list[Finding]:
    """What `check` has to say; a check that crashes is inconclusive."""
    try:
        return [Finding(check=name, **remark._asdict()) for remark in check(timeline)]
    except Exception as error:  # noqa: BLE001 - a bug in a check must not turn into a pass
        return [Finding(check=name, level="inconclusive", text=f"the check crashed: {error!r}", topic="crashed")]
