"""A verdict as text: colours on a terminal, plain lines elsewhere (the console knows which it is)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.model import Finding, Stage, StageName, StreamSummary, Verdict
from labctl.errors import command_for

STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "not-injected": "bold yellow"}
_LEVEL_STYLE = {"fail": "red", "not-injected": "yellow", "inconclusive": "yellow", "flag": "cyan", "info": "dim"}
_IN_BAND = {True: "yes", False: "NO", None: "-"}
WORDS = {
    "not_ready": "node NotReady",
    "service_restored": "service whole again",
    "tainted": "node tainted NoExecute",
    "evicted": "pods evicted",
    "replaced": "replacement Ready elsewhere",
    "condition": "node says so",
    "preempted": "pod of high priority Ready",
    "returned": "node Ready again",
}


class Named(Protocol):
    """A stage, a prediction, a spread."""

    @property
    def name(self) -> StageName: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102


def label(stage: Named, among: Sequence[Named]) -> str:
    """The stage in words; with its subject where several have that stage."""
    is_shared = sum(other.name == stage.name for other in among) > 1
    return f"{WORDS[stage.name]}, {stage.subject}" if is_shared and stage.subject else WORDS[stage.name]


def show(verdict: Verdict, folder: Path, console: Console | None = None) -> None:
    """Print `verdict`: the outcome first, what was measured, findings, what to do, and the `folder` of its files."""
    console = console or Console()
    outcome = Text(verdict.verdict.upper(), style=STYLE[verdict.verdict])
    console.print(outcome, Text(f"{verdict.drill} on {verdict.victim} (seed {verdict.seed})"))
    has_fault = not any(finding.check == "injected" for finding in verdict.findings)
    if has_fault:
        _show_measured(verdict, console)
    for finding in verdict.findings:
        console.print(_finding(finding), highlight=False)
    if not has_fault:
        console.print(f"  → nothing can be said of Kubernetes: {_again(verdict)}", highlight=False)
    files = "report.md, junit.xml, verdict.json beside it; history.jsonl is all that was seen"
    console.print(f"report: {folder / 'report.html'} ({files})", highlight=False, soft_wrap=True)


def _again(verdict: Verdict) -> str:
    look, again = command_for(verdict.lab, "recover"), command_for(verdict.lab, "drill", verdict.drill)
    return f"{look} makes sure that the lab is whole, then {again} once more"


def _show_measured(verdict: Verdict, console: Console) -> None:
    console.print(_stages(verdict.stages))
    for stage in verdict.stages:
        if stage.note:
            console.print(f"{label(stage, verdict.stages)}: {stage.note}", style="dim", highlight=False)
    for stream in verdict.requests:
        console.print(requests_sentence(stream), highlight=False)
    if verdict.fault_uncertainty_s is not None:
        late = f"{verdict.fault_uncertainty_s:.2f} s"
        text = f"measured from the machine's last sign of life; the fault came at most {late} later"
        console.print(text, style="dim", highlight=False)


def requests_sentence(stream: StreamSummary) -> str:
    """What became of a stream's requests during the fault, in one line."""
    bad = stream.sent - stream.ok
    if not bad:
        return f"requests, {stream.name}: all {stream.sent} answered during the fault"
    kinds = ", ".join(f"{count} {kind}" for kind, count in stream.failed.items())
    when = f"sent {stream.first_failed_s:.1f} to {stream.last_failed_s:.1f} s after the fault"
    return f"requests, {stream.name}: {bad} of {stream.sent} failed ({kinds}), {when}"


def _stages(stages: tuple[Stage, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("predicted s", justify="right")
    table.add_column("measured s", justify="right")
    table.add_column("in band")
    for stage in stages:
        style = "red" if stage.in_band is False else ""
        table.add_row(
            label(stage, stages),
            "never" if stage.predicted_s is None else f"{stage.predicted_s[0]:.1f}-{stage.predicted_s[1]:.1f}",
            "-" if stage.measured_s is None else f"{stage.measured_s:.1f}",
            Text(_IN_BAND[stage.in_band], style=style),
        )
    return table


def _finding(finding: Finding) -> Text:
    return Text(f"{finding.level}: {finding.check}: {finding.text}", style=_LEVEL_STYLE[finding.level])
