"""A drill's run as a page, as Markdown and as JUnit XML: made from the run's files alone, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import junitparser

from labctl.drill import otherwise
from labctl.drill.advice import advice
from labctl.drill.judge import CHECKS, judge, read_run
from labctl.drill.model import Finding, Plan, Prediction, Verdict
from labctl.drill.timeline import Timeline
from labctl.report import junit, pages
from labctl.report.chart import chart
from labctl.report.fates import fates
from labctl.report.terminal import label, requests_sentence

PAGE, TEXT, JUNIT = "report.html", "report.md", "junit.xml"
_SETTINGS = {
    "grace_s": ("--node-monitor-grace-period", "how long a node may be silent before it is NotReady"),
    "monitor_s": ("--node-monitor-period", "how often the controller looks"),
    "lease_s": ("nodeLeaseDurationSeconds", "the kubelet renews its lease four times as often"),
    "toleration_s": ("tolerationSeconds", "how long the lost pods tolerate the taint"),
    "eviction_rate": ("--node-eviction-rate", "nodes that are tainted a second"),
}


def write(run_dir: Path, into: Path | None = None) -> Verdict:
    """Judge the run in `run_dir` and write its report beside it, or `into` another folder."""
    timeline = read_run(run_dir)
    verdict = judge(timeline, run_dir)
    target = into or run_dir
    (target / "verdict.json").write_text(verdict.to_json() + "\n", encoding="utf-8")
    (target / PAGE).write_text(_rendered("drill.html.j2", verdict, timeline), encoding="utf-8")
    (target / TEXT).write_text(_rendered("drill.md.j2", verdict, timeline), encoding="utf-8")
    junit.write(f"drill {verdict.drill}", timeline.utc, _cases(verdict), target / JUNIT)
    return verdict


def _rendered(template: str, verdict: Verdict, timeline: Timeline) -> str:
    return pages.render(
        template,
        verdict=verdict,
        plan=timeline.plan,
        utc=timeline.utc,
        chart=chart(verdict, timeline),
        advice=advice(timeline.plan),
        fates=fates(timeline),
        label=label,
        fault=" and ".join(dict.fromkeys(step.step.fault for step in timeline.plan.steps)),
        settings=_settings(timeline.plan),
        timing=otherwise.timing_of(timeline.plan.settings),
        timings=_timings(timeline.plan),
        requests=[requests_sentence(stream) for stream in verdict.requests],
        run=Path(verdict.run_dir).name,
        is_injected=bool(timeline.proven),
    )


def _settings(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Name, value, where it was read, and what it decides."""
    rows = []
    for name, (flag, meaning) in _SETTINGS.items():
        value = getattr(plan.settings, name)
        rows.append((flag, "for ever" if value is None else f"{value:g}", plan.settings.sources.get(name, ""), meaning))
    return rows


def _timings(plan: Plan) -> dict[str, dict[tuple[str, str], Prediction]]:
    """The predictions of all stages, by timing, stage and subject."""
    return {name: {(p.name, p.subject): p for p in otherwise.with_timing(plan, name)} for name in otherwise.TIMINGS}


def _cases(verdict: Verdict) -> Iterator[junitparser.TestCase]:
    """One for each check of the judge."""
    for name in CHECKS:
        case = junitparser.TestCase(name, verdict.drill, 0)
        found = [_junit(finding) for finding in verdict.findings if finding.check == name]
        case.result = [result for result in found if result]
        yield case


def _junit(finding: Finding) -> junitparser.junitparser.FinalResult | None:
    if finding.level == "fail":
        return junitparser.Failure(finding.text)
    return junitparser.Error(finding.text) if finding.level in ("inconclusive", "not-injected") else None
