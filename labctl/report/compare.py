"""Two runs beside each other: what was set otherwise, and what that changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.declare import Frozen
from labctl.drill.judge import judge, read_run
from labctl.drill.model import StageName
from labctl.drill.otherwise import timing_of
from labctl.drill.verdict import Outcome, Stage
from labctl.report import pages
from labctl.report.chart import Box, Row, Scale, band_box
from labctl.report.terminal import STYLE
from labctl.report.words import WORDS, band, label

_SETTINGS = ("version", "grace_s", "monitor_s", "lease_s", "toleration_s", "eviction_rate")


class Side(Frozen):
    """One of the two runs."""

    run_dir: str
    drill: str
    lab: str
    victim: str
    verdict: Outcome
    timing: str
    """as in labctl.yml; nothing if the settings are of none"""
    settings: dict[str, str]
    stages: tuple[Stage, ...]
    failed: dict[str, tuple[int, int]]
    """requests that failed during the fault, and all that were sent, by stream"""

    def stage(self, name: StageName, place: int) -> Stage | None:
        """The stage of that name, if the run has it; `place` tells those of several nodes or parts apart."""
        named = [stage for stage in self.stages if stage.name == name]
        return named[place] if place < len(named) else None

    def places(self) -> list[tuple[StageName, int]]:
        """All stages, by name and place."""
        names = [stage.name for stage in self.stages]
        return [(name, names[:index].count(name)) for index, name in enumerate(names)]


class Comparison(Frozen):
    """The result of `labctl report --compare`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_name: Literal["labctl.comparison/v1"] = Field("labctl.comparison/v1", alias="schema")
    first: Side
    second: Side

    @property
    def differing(self) -> list[tuple[str, str, str]]:
        """Settings that are not the same: name, first, second."""
        pairs = [(name, self.first.settings[name], self.second.settings[name]) for name in _SETTINGS]
        return [pair for pair in pairs if pair[1] != pair[2]]

    @property
    def stages(self) -> list[tuple[str, Stage | None, Stage | None, float | None]]:
        """Its words, both stages, and how many seconds later the second one was."""
        rows: list[tuple[str, Stage | None, Stage | None, float | None]] = []
        for name, place in dict.fromkeys([*self.first.places(), *self.second.places()]):
            a, b = self.first.stage(name, place), self.second.stage(name, place)
            side = self.first if a else self.second
            one = a or b
            rows.append((label(one, side.stages) if one else WORDS[name], a, b, _difference(a, b)))
        return rows

    @property
    def streams(self) -> list[str]:
        """Of either run."""
        return list(dict.fromkeys([*self.first.failed, *self.second.failed]))


def compare(first: Path, second: Path) -> Comparison:
    """Judge two runs from their files, and put them beside each other."""
    return Comparison(first=_side(first), second=_side(second))


def write_html(found: Comparison, path: Path) -> None:
    """A page that needs nothing else."""
    scale = _scale(found)
    text = pages.render("compare.html.j2", found=found, scale=scale, rows=_rows(found, scale) if scale else [])
    path.write_text(text, encoding="utf-8")


def _scale(found: Comparison) -> Scale | None:
    """From the fault to the last thing that was predicted or measured; None if nothing was."""
    stages = [s for side in (found.first, found.second) for s in side.stages if s.since == "fault"]
    seconds = [s.measured_s for s in stages if s.measured_s is not None]
    ends = [*seconds, *(s.predicted_s[1] for s in stages if s.predicted_s)]
    return Scale(0, 1.02 * max(ends)) if ends and max(ends) > 0 else None


def _rows(found: Comparison, scale: Scale) -> list[Row]:
    """A above B, for each stage that counts from the fault."""
    rows = []
    for name, a, b, difference in found.stages:
        if any(stage and stage.since == "fault" for stage in (a, b)):
            boxes = (*_boxes(a, scale, "up"), *_boxes(b, scale, "down"))
            value = "" if difference is None else f"B {difference:+.1f} s"
            aside = ", ".join(f"{letter} {_seen(stage)}" for letter, stage in (("A", a), ("B", b)) if stage)
            rows.append(Row(name, boxes=boxes, value=value, aside=aside))
    return rows


def _seen(stage: Stage) -> str:
    return "not seen" if stage.measured_s is None else f"{stage.measured_s:.1f} s"


def _boxes(stage: Stage | None, scale: Scale, place: str) -> Iterator[Box]:
    if stage and stage.predicted_s:
        yield band_box(scale, *stage.predicted_s, f"band {place}")
    if stage and stage.measured_s is not None:
        yield Box(f"mark {place}", scale.at(stage.measured_s), 0, f"measured, {stage.measured_s:.1f} s")


def show(found: Comparison, console: Console | None = None) -> None:
    """Both verdicts, the settings that differ, the stages and the requests."""
    console = console or Console()
    for letter, side in (("A", found.first), ("B", found.second)):
        timing = f", timing {side.timing}" if side.timing else ""
        outcome = (side.verdict.upper(), STYLE[side.verdict])
        line = Text.assemble(f"{letter}: ", outcome, f" {side.drill} on {side.victim}{timing}: {side.run_dir}")
        console.print(line, soft_wrap=True)
    for name, before, after in found.differing:
        console.print(f"{name}: {before} in A, {after} in B", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("A predicted s", "A measured s", "B predicted s", "B measured s", "B - A"):
        table.add_column(name, justify="right")
    for stage, a, b, difference in found.stages:
        later = "-" if difference is None else f"{difference:+.1f}"
        table.add_row(stage, *_words(a), *_words(b), later)
    console.print(table)
    for letter, side in (("A", found.first), ("B", found.second)):
        for stream, (bad, sent) in side.failed.items():
            console.print(f"{letter}, requests, {stream}: {bad} of {sent} failed", highlight=False)


def _side(run_dir: Path) -> Side:
    timeline = read_run(run_dir)
    verdict, settings = judge(timeline, run_dir), timeline.plan.settings
    return Side(
        run_dir=str(run_dir),
        drill=verdict.drill,
        lab=verdict.lab,
        victim=verdict.victim,
        verdict=verdict.verdict,
        timing=timing_of(settings),
        settings={name: _setting(getattr(settings, name)) for name in _SETTINGS},
        stages=verdict.stages,
        failed={stream.name: (stream.sent - stream.ok, stream.sent) for stream in verdict.requests},
    )


def _setting(value: str | float | None) -> str:
    if value is None:
        return "for ever"
    return value if isinstance(value, str) else f"{value:g}"


def _difference(first: Stage | None, second: Stage | None) -> float | None:
    if not first or not second or first.measured_s is None or second.measured_s is None:
        return None
    return second.measured_s - first.measured_s


def _words(stage: Stage | None) -> tuple[str, str]:
    if stage is None:
        return "-", "-"
    return band(stage), "-" if stage.measured_s is None else f"{stage.measured_s:.1f}"
