"""A verdict as text: colours on a terminal, plain lines elsewhere (the console knows which it is)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.model import Host
from labctl.drill.verdict import Advice, Finding, Promise, Stage, Verdict
from labctl.errors import command_for
from labctl.report.chart import Scale, instant
from labctl.report.words import WORDS, answers, band, fit, headline, host_rows, label, requests_sentence

STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "not-injected": "bold yellow"}
_LEVEL_STYLE = {"fail": "red", "not-injected": "yellow", "inconclusive": "yellow", "flag": "cyan", "info": "dim"}
_KEPT = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
_BESIDE_S = 48
"""what the table's other columns need beside the stages' names"""
_NARROWEST, _WIDEST = 12, 48
"""columns of the drawn lane; where there are less, none is drawn"""
_NOTABLE_S = 0.01


def show(verdict: Verdict, folder: Path, console: Console | None = None) -> None:
    """Print `verdict`: the outcome first, what was declared and measured, what to do, and the `folder` of its files."""
    console = console or Console()
    outcome = Text(verdict.verdict.upper(), style=STYLE[verdict.verdict])
    console.print(outcome, Text(f"{verdict.drill} on {verdict.victim} (seed {verdict.seed})"))
    console.print(Text(headline(verdict)))
    has_fault = not any(finding.check == "injected" and finding.level != "fail" for finding in verdict.findings)
    if has_fault:
        console.print(_promises(verdict.promises))
        _show_measured(verdict, console)
    for finding, advice in zip(verdict.findings, answers(verdict), strict=True):
        console.print(_finding(finding), highlight=False)
        console.print(_advice(advice))
    if not has_fault and not verdict.advice:
        console.print(Text(f"  → nothing can be said of Kubernetes: {_again(verdict)}"))
    _show_general([item for item in verdict.advice if not item.findings], console)
    _show_host(verdict.host, console)
    files = "report.md, junit.xml, verdict.json beside it; history.jsonl is all that was seen"
    console.print(Text(f"report: {folder / 'report.html'} ({files})"), soft_wrap=True)


def _again(verdict: Verdict) -> str:
    look, again = command_for(verdict.lab, "recover"), command_for(verdict.lab, "drill", verdict.drill)
    return f"{look} makes sure that the lab is whole, then {again} once more"


def _promises(promises: Iterable[Promise]) -> Table:
    table = Table.grid(padding=(0, 1))
    for promise in promises:
        mark, style = _KEPT[promise.is_kept]
        table.add_row(Text(f"  {mark}", style), Text(promise.text))
    return table


def _show_measured(verdict: Verdict, console: Console) -> None:
    console.print(stage_table(verdict.stages, console.width))
    for words in dict.fromkeys(f"{WORDS[stage.name]}: {stage.note}" for stage in verdict.stages if stage.note):
        console.print(Text(words, "dim"))
    for stream in verdict.requests:
        console.print(Text(requests_sentence(stream)))
    if verdict.fault_uncertainty_s is not None and verdict.fault_uncertainty_s >= _NOTABLE_S:
        late = f"{verdict.fault_uncertainty_s:.2f} s"
        console.print(
            Text(f"measured from the machine's last sign of life; the fault came at most {late} later", "dim")
        )


def stage_table(stages: Sequence[Stage], width: int) -> Table:
    """Predicted beside measured, a line each; drawn to scale where there is room."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = [label(stage, stages) for stage in stages]
    table.add_column("stage", no_wrap=True)
    table.add_column("predicted s", justify="right", no_wrap=True)
    table.add_column("measured s", justify="right", no_wrap=True)
    table.add_column("in band", no_wrap=True)
    columns = min(_WIDEST, width - _BESIDE_S - max(map(len, names), default=0))
    lanes = _lanes(stages, columns) if columns >= _NARROWEST else []
    if lanes:
        table.add_column("to scale", no_wrap=True)
    for number, stage in enumerate(stages):
        style = "red" if stage.is_odd else ""
        table.add_row(
            names[number],
            band(stage),
            "-" if stage.measured_s is None else f"{stage.measured_s:.1f}",
            Text(fit(stage), style=style),
            *lanes[number : number + 1],
        )
    return table


def _lanes(stages: Sequence[Stage], columns: int) -> list[Text]:
    """A line of characters for each stage: the predicted band, and the mark in it. From the fault on; none after it."""
    marks = [stage.measured_s for stage in stages if stage.measured_s is not None and stage.since == "fault"]
    if not marks or max(marks) <= 0:
        return []
    scale = Scale(0.0, max(marks) * 1.1)
    return [_lane(stage, scale, columns) if stage.since == "fault" else Text("") for stage in stages]


def _lane(stage: Stage, scale: Scale, columns: int) -> Text:
    def place(seconds: float) -> int:
        return round(scale.at(seconds) / 100 * (columns - 1))

    cells = ["·"] * columns
    if stage.predicted_s:
        low, high = map(place, stage.predicted_s)
        cells[low : high + 1] = "░" * (high + 1 - low)
    text = Text("".join(cells), "dim")
    mark = instant(stage, 0.0)
    if mark is not None:
        cells[place(mark)] = "█"
        text = Text("".join(cells), "dim")
        text.stylize("red" if stage.is_odd else "not dim bold", place(mark), place(mark) + 1)
    return text


def _finding(finding: Finding) -> Text:
    return Text(f"{finding.level}: {finding.check}: {finding.text}", style=_LEVEL_STYLE[finding.level])


def _advice(items: Iterable[Advice]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for item in items:
        for name, text in (("why", item.why), ("change", item.change), ("then", item.effect)):
            if text:
                table.add_row(Text(f"    {name}", "dim"), Text(text))
    return table


def _show_general(items: Sequence[Advice], console: Console) -> None:
    if items:
        console.print(Text("what to change", "bold"))
    for item in items:
        console.print(_advice([item]))


def _show_host(host: Host, console: Console) -> None:
    known = [value if name in ("container engine", "host") else f"{name} {value}" for name, value in host_rows(host)]
    if known:
        console.print(Text("made on: " + ", ".join(known), "dim"))
