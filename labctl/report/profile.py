"""Where the time of `labctl up` went: spans out of events.jsonl, the critical path, and a Gantt chart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from labctl.report import pages

_WORTH_A_LINE_S = 0.05


@dataclass(frozen=True)
class Span:
    """Something that took from `start` to `end`, in seconds since the command began; `row` is a host, or ``labctl``."""

    row: str
    name: str
    start: float
    end: float
    is_changed: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class Profile:
    """All spans of a run; `critical` are those that the end waited for, first to last, without overlap."""

    steps: list[Span]
    tasks: list[Span]
    critical: list[Span]

    @property
    def seconds(self) -> float:
        """From the first step's start to the last one's end."""
        return self.steps[-1].end if self.steps else 0.0


def read(events: Path) -> Profile:
    """The profile of the run that wrote `events` (events.jsonl)."""
    steps, tasks, begun = [], [], {}
    for line in events.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        match event["event"]:
            case "StepStarted":
                begun[event["step"]] = event["t"]
            case "StepFinished":
                steps.append(Span("labctl", event["step"], begun[event["step"]], event["t"]))
            case "TaskFinished" if event["result"] != "skipped":
                start = max(0.0, event["t"] - event["seconds"])
                is_changed = event["result"] == "changed"
                tasks.append(Span(event["host"], event["task"], start, event["t"], is_changed))
    return Profile(steps, tasks, critical_path([*tasks, *_without_tasks(steps, tasks)]))


def critical_path(spans: Iterable[Span]) -> list[Span]:
    """Backwards from the last end: what ended last before the next one began."""
    left = sorted(spans, key=lambda span: (span.end, span.seconds))
    path: list[Span] = []
    while left:
        span = left.pop()
        if not path or span.end <= path[-1].start:
            path.append(span)
    return path[::-1]


def _without_tasks(steps: Sequence[Span], tasks: Sequence[Span]) -> list[Span]:
    """The steps in which no task ran: they speak for themselves."""
    return [step for step in steps if not any(step.start <= task.end <= step.end for task in tasks)]


def table(profile: Profile) -> Table:
    """The critical path for the terminal."""
    shown = Table(title=f"Critical path of {profile.seconds:.1f} s", title_justify="left", box=None)
    for name in ("at s", "took s"):
        shown.add_column(name, justify="right")
    shown.add_column("where")
    shown.add_column("what")
    for span in profile.critical:
        if span.seconds >= _WORTH_A_LINE_S:
            shown.add_row(f"{span.start:.1f}", f"{span.seconds:.2f}", span.row, span.name)
    known = sum(span.seconds for span in profile.critical)
    shown.add_row("", f"{max(0.0, profile.seconds - known):.2f}", "ansible", "between tasks, its start and its end")
    return shown


def write_html(profile: Profile, target: Path) -> None:
    """A Gantt chart in one file that needs nothing else."""
    rows = ["labctl", *sorted({task.row for task in profile.tasks})]
    spans = {row: [span for span in (*profile.steps, *profile.tasks) if span.row == row] for row in rows}
    critical = {(span.row, span.name, span.start) for span in profile.critical}
    text = pages.render("profile.html.j2", profile=profile, spans=spans, critical=critical)
    target.write_text(text, encoding="utf-8")
