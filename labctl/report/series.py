"""Several runs of a drill: a table for the terminal, JSON, and a page."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.series import Series
from labctl.report import pages
from labctl.report.chart import Scale
from labctl.report.terminal import STYLE
from labctl.report.words import band, label


def write(series: Series, folder: Path) -> None:
    """series.json and report.html."""
    (folder / "series.json").write_text(series.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
    seconds = [value for stage in series.stages if stage.since == "fault" for value in stage.seen]
    bands = [stage.predicted_s[1] for stage in series.stages if stage.since == "fault" and stage.predicted_s]
    scale = Scale(0, max([*seconds, *bands]) + 1) if seconds else None
    text = pages.render("series.html.j2", series=series, scale=scale, label=label)
    (folder / "report.html").write_text(text, encoding="utf-8")


def show(series: Series, folder: Path, console: Console | None = None) -> None:
    """The verdict, the spread of each stage, the runs, and where the page is."""
    console = console or Console()
    counts = ", ".join(f"{count} {outcome}" for outcome, count in series.counts.items())
    outcome = Text(series.verdict.upper(), style=STYLE[series.verdict])
    console.print(outcome, Text(f"{len(series.runs)} of {series.wanted} runs of {series.drill}: {counts}"))
    console.print(_table(series))
    for run in series.runs:
        if run.verdict != "pass":
            console.print(Text(f"{run.verdict}: seed {run.seed}, {run.victim}: {run.run_dir}"), soft_wrap=True)
    console.print(f"report: {folder / 'report.html'} (series.json beside it)", highlight=False, soft_wrap=True)


def _table(series: Series) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("predicted s", "n", "min", "median", "max", "outside"):
        table.add_column(name, justify="right")
    for stage in series.stages:
        figures = [f"{value:.1f}" for value in stage.figures] if stage.figures else ["-"] * 3
        outside = Text(str(stage.outside), "red" if stage.outside else "")
        table.add_row(label(stage, series.stages), band(stage), str(len(stage.seen)), *figures, outside)
    return table
