"""A drill's run as a page, as Markdown and as JUnit XML: made from the run's files alone, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import junitparser

from labctl.drill import otherwise
from labctl.drill.judge import CHECKS, judge, read_run
from labctl.drill.model import Plan, Prediction
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Advice, Finding, Verdict
from labctl.report import junit, pages
from labctl.report.chart import chart
from labctl.report.figures import figures
from labctl.report.words import (
    LEVELS,
    TITLES,
    answers,
    band,
    fit,
    headline,
    host_rows,
    label,
    predicted,
    requests_sentence,
)

PAGE, TEXT, JUNIT = "report.html", "report.md", "junit.xml"
_SETTINGS = {
    "grace_s": ("--node-monitor-grace-period", "how long a node may be silent before it is NotReady", "s"),
    "monitor_s": ("--node-monitor-period", "how often the controller looks", "s"),
    "lease_s": ("nodeLeaseDurationSeconds", "the kubelet renews its lease four times as often", "s"),
    "status_s": ("nodeStatusUpdateFrequency", "how often the kubelet looks whether its own status changed", "s"),
    "toleration_s": ("tolerationSeconds", "how long the lost pods tolerate the taint", "s"),
    "eviction_rate": ("--node-eviction-rate", "nodes that are tainted a second", "/s"),
    "secondary_eviction_rate": ("--secondary-node-eviction-rate", "the same while most of a large zone is dead", "/s"),
    "unhealthy_threshold": ("--unhealthy-zone-threshold", "share of dead nodes from which a zone counts as such", ""),
    "large_cluster": ("--large-cluster-size-threshold", "zones of at most so many nodes are small: no evictions", ""),
}


def write(run_dir: Path, into: Path | None = None) -> Verdict:
    """Judge the run in `run_dir` and write its report beside it, or `into` another folder."""
    timeline = read_run(run_dir)
    verdict = judge(timeline, run_dir)
    target = into or run_dir
    is_beside = target.resolve() == run_dir.resolve()
    (target / "verdict.json").write_text(verdict.to_json() + "\n", encoding="utf-8")
    for template, name in (("drill.html.j2", PAGE), ("drill.md.j2", TEXT)):
        (target / name).write_text(_rendered(template, verdict, timeline, is_beside=is_beside), encoding="utf-8")
    junit.write(
        f"drill {verdict.drill}", timeline.utc, _cases(verdict), target / JUNIT, properties=dict(_properties(verdict))
    )
    return verdict


def _rendered(template: str, verdict: Verdict, timeline: Timeline, *, is_beside: bool) -> str:
    plan = timeline.plan
    return pages.render(
        template,
        verdict=verdict,
        plan=plan,
        utc=f"{timeline.utc[:19].replace('T', ' ')} UTC",
        headline=headline(verdict),
        figures=figures(verdict, plan),
        chart=chart(verdict, timeline),
        answers=answers(verdict),
        general=[item for item in verdict.advice if not item.findings],
        levels=LEVELS,
        checks=TITLES,
        fit=fit,
        label=label,
        band=band,
        predicted=predicted,
        settings=settings(plan),
        timing=otherwise.timing_of(plan.settings),
        timings=_timings(plan) if timeline.proven else {},
        requests=[requests_sentence(stream) for stream in verdict.requests],
        run=Path(verdict.run_dir).name,
        is_beside=is_beside,
        is_injected=bool(timeline.proven),
        is_fault=bool(plan.drill.steps),
    )


def settings(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Name, value, where it was read, and what it decides."""
    rows = []
    for name, (flag, meaning, unit) in _SETTINGS.items():
        value = getattr(plan.settings, name)
        words = "for ever" if value is None else f"{value:g} {unit}".rstrip()
        rows.append((flag, words, plan.settings.sources.get(name, ""), meaning))
    return rows


def _timings(plan: Plan) -> dict[str, dict[tuple[str, str], Prediction]]:
    """The predictions of all stages, by timing, stage and subject; none where no timing changes anything."""
    found: dict[str, dict[tuple[str, str], Prediction]] = {
        name: {(p.name, p.subject): p for p in otherwise.with_timing(plan, name)} for name in otherwise.TIMINGS
    }
    bands = [[p.band for p in predictions.values()] for predictions in found.values()]
    return found if any(other != bands[0] for other in bands) else {}


def _properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """What the numbers were measured on, for whoever reads the XML alone."""
    yield from (("victim", verdict.victim), ("seed", str(verdict.seed)))
    if verdict.settings:
        yield "kubernetes", verdict.settings.version
    yield from host_rows(verdict.host)
    for stage in verdict.stages:
        measured = "not seen" if stage.measured_s is None else f"{stage.measured_s:.2f} s"
        yield f"{stage.name} {stage.subject}".strip(), f"{measured}, {predicted(stage)}"


def _cases(verdict: Verdict) -> Iterator[junitparser.TestCase]:
    """One for each check of the judge. What is no failure (a number outside its band) is its output."""
    said = list(zip(verdict.findings, answers(verdict), strict=True))
    for name in CHECKS:
        case = junitparser.TestCase(name, verdict.drill, 0)
        found = [(finding, advice) for finding, advice in said if finding.check == name]
        case.result = [result for result in (_junit(*item) for item in found) if result]
        told = [f"{finding.level}: {finding.text}" for finding, _ in found if finding.level in ("flag", "info")]
        if told:
            case.system_out = "\n".join(told)
        yield case


def _junit(finding: Finding, advice: Sequence[Advice]) -> junitparser.junitparser.FinalResult | None:
    kinds: dict[str, type[junitparser.junitparser.FinalResult]] = {
        "fail": junitparser.Failure,
        "inconclusive": junitparser.Error,
        "not-injected": junitparser.Error,
    }
    if finding.level not in kinds:
        return None
    result = kinds[finding.level](finding.text)
    result.text = "\n".join(f"why: {item.why}\nchange: {item.change}\nthen: {item.effect or '-'}" for item in advice)
    return result
