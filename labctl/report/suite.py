"""A suite of drills: what came of each, as text, JSON, JUnit and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import junitparser
from pydantic import ConfigDict, Field
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.declare import Frozen
from labctl.drill.verdict import EXIT_CODES, OUTCOMES, Outcome, Verdict
from labctl.report import junit, pages
from labctl.report.terminal import STYLE

_ORDER = ("fail", "not-injected", "inconclusive", "refused", "unsupported", "pass")


class Entry(Frozen):
    """A drill of the suite: its verdict, or why there is none. What is not supported is no pass."""

    drill: str
    verdict: Verdict | None = None
    unsupported: str = ""
    refused: str = ""

    @property
    def word(self) -> str:
        """What came of it."""
        if self.verdict:
            return self.verdict.verdict
        return "unsupported" if self.unsupported else "refused"

    @property
    def text(self) -> str:
        """The reason in a line."""
        if self.verdict:
            worst = [f for f in self.verdict.findings if f.level == self.verdict.verdict] or self.verdict.findings
            return worst[0].text if worst else ""
        return self.unsupported or self.refused


class Suite(Frozen):
    """The result of `labctl drill --suite SUITE`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_name: Literal["labctl.suite/v1"] = Field("labctl.suite/v1", alias="schema")
    lab: str
    utc: str
    wanted: int
    verdict: Outcome
    """the worst; at best inconclusive if a drill was refused, or if none could run"""
    entries: tuple[Entry, ...]

    @property
    def exit_code(self) -> int:
        """What labctl ends with."""
        return EXIT_CODES[self.verdict]


def suite(entries: Sequence[Entry], lab: str, wanted: int) -> Suite:
    """Put the entries together."""
    outcomes: list[Outcome] = [entry.verdict.verdict for entry in entries if entry.verdict]
    if not outcomes or len(entries) < wanted or any(entry.refused for entry in entries):
        outcomes.append("inconclusive")
    return Suite(
        lab=lab,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        wanted=wanted,
        verdict=max(outcomes, key=OUTCOMES.index),
        entries=tuple(entries),
    )


def write(found: Suite, folder: Path) -> None:
    """suite.json, report.html, junit.xml."""
    (folder / "suite.json").write_text(found.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(
        pages.render("suite.html.j2", suite=found, counts=_counts(found), entries=_worst_first(found)), encoding="utf-8"
    )
    junit.write("drills", found.utc, [_case(entry) for entry in found.entries], folder / "junit.xml")


def show(found: Suite, folder: Path, console: Console | None = None) -> None:
    """A line for each drill, the worst verdict, and where the page is."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, show_header=False)
    for entry in found.entries:
        table.add_row(Text(entry.word.upper(), style=STYLE.get(entry.word, "dim")), entry.drill, Text(entry.text))
    console.print(table)
    console.print(Text(found.verdict.upper(), style=STYLE[found.verdict]), Text(f"{len(found.entries)} drills"))
    files = "suite.json and junit.xml beside it; each run has a report of its own"
    console.print(f"report: {folder / 'report.html'} ({files})", highlight=False, soft_wrap=True)


def _counts(found: Suite) -> dict[str, int]:
    """How many entries came to what, the worst first."""
    words = Counter(entry.word for entry in found.entries)
    return {word: words[word] for word in _ORDER if words[word]}


def _worst_first(found: Suite) -> list[Entry]:
    """The entries as somebody reads them who has little time; in the order of the runs where they are equal."""
    return sorted(found.entries, key=lambda entry: _ORDER.index(entry.word))


def _case(entry: Entry) -> junitparser.TestCase:
    case = junitparser.TestCase(entry.drill, "drills", 0)
    if entry.unsupported:
        case.result = [junitparser.Skipped(entry.unsupported)]
    elif entry.word == "fail":
        case.result = [junitparser.Failure(entry.text)]
    elif entry.word != "pass":
        case.result = [junitparser.Error(entry.text)]
    return case
