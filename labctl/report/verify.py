"""A verification on the terminal, as HTML, and as JUnit XML for a CI server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import junitparser
from rich.console import Console
from rich.text import Text

from labctl import state
from labctl.report import junit, pages
from labctl.verify.model import Report, Result, Status

_MARK: dict[Status, tuple[str, str]] = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "error": ("!", "bold red"),
    "deviates": ("~", "yellow"),
    "skipped": ("-", "dim"),
}
_WORST: tuple[Status, ...] = ("error", "failed", "deviates", "skipped", "passed")
_REPEATED = 5
"""So many skips for one reason (a machine that does not answer) are told in one line."""
KINDS = {"NODE": "Nodes", "CLUSTER": "Cluster", "CIS": "CIS Kubernetes Benchmark"}


def worst(results: Iterable[Result]) -> Status:
    """The status that speaks for all of `results`."""
    return min((result.status for result in results), key=_WORST.index)


def subjects(results: list[Result]) -> str:
    """Whom the worst status is about: a name, all nodes, or some of them."""
    named = [result.subject for result in results if result.status == worst(results)]
    if len(results) == 1:
        return named[0]
    return f"{len(results)} nodes" if len(named) == len(results) else f"{', '.join(named)} of {len(results)} nodes"


def by_check(report: Report) -> list[tuple[Result, list[Result]]]:
    """Each check (any result of it speaks for its words) and its results."""
    groups = [list(group) for _, group in groupby(report.results, key=lambda result: result.id)]
    return [(group[0], group) for group in groups]


def summary(report: Report) -> str:
    """How many checks ended how, in one line."""
    counts = report.counts
    words = [f"{counts[status]} {status}" for status in reversed(_WORST) if counts[status]]
    return f"{', '.join(words)} in {report.seconds:.1f} s"


def show(report: Report, console: Console | None = None) -> None:
    """Print each check in a line, then what is wrong in full."""
    console = console or Console()
    alike = Counter(_excuse(result) for result in report.results if result.reason)
    for check, results in by_check(report):
        status = worst(results)
        mark, style = _MARK[status]
        where = subjects(results)
        line = Text.assemble((f"{mark} ", style), (f"{check.id:<12}", "bold"), check.title, (f"  {where}", "dim"))
        console.print(line, highlight=False, soft_wrap=True)
        for result in results:
            if result.reason and alike[_excuse(result)] < _REPEATED:
                console.print(Text(f"    {_excuse(result)}", "dim"), soft_wrap=True)
    for excuse, count in alike.items():
        if count >= _REPEATED:
            console.print(Text(f"\n- {excuse} ({count} checks)"), highlight=False, soft_wrap=True)
    for result in report.bad:
        _explain(result, console)
    colour = "red" if report.bad else "green"
    console.print(
        Text.assemble("\n", ("verified" if not report.bad else "not what it should be", f"bold {colour}")), end=""
    )
    console.print(f": {summary(report)}", highlight=False)


def _excuse(result: Result) -> str:
    return f"{result.subject}: {result.status}: {result.reason}"


def _explain(result: Result, console: Console) -> None:
    mark, style = _MARK[result.status]
    heading = Text.assemble("\n", (f"{mark} {result.id} {result.title}", style), (f"  {result.subject}", "bold"))
    console.print(heading, highlight=False, soft_wrap=True)
    for name in ("seen", "expected", "why", "fix"):
        text = getattr(result, name)
        if text:
            console.print(Text.assemble((f"    {name:<9}", "dim"), text), highlight=False, soft_wrap=True)


def write_html(report: Report, path: Path) -> None:
    """One file that opens from the disk, without a network."""
    checks = [(check, results, worst(results), subjects(results)) for check, results in by_check(report)]
    bad = [item for item in checks if item[2] in ("failed", "error")]
    well = [item for item in checks if item not in bad]
    kinds = {"What is wrong": bad} | {
        title: [item for item in well if item[0].id.startswith(f"{kind}-")] for kind, title in KINDS.items()
    }
    page = pages.render("verify.html.j2", report=report, kinds=kinds, summary=summary(report))
    state.write_file(path, page, 0o644)


def write_junit(report: Report, path: Path) -> None:
    """A test case for each result; a deviation is a skip with its reason."""
    junit.write(f"labctl verify {report.lab}", report.started, _cases(report), path)


def _cases(report: Report) -> Iterator[junitparser.TestCase]:
    for result in report.results:
        case = junitparser.TestCase(f"{result.id} {result.title}", result.subject, result.seconds)
        text = f"seen: {result.seen}\nexpected: {result.expected}\nwhy: {result.why}\nfix: {result.fix}"
        if result.status == "failed":
            case.result = [junitparser.Failure(result.seen, text)]
        elif result.status == "error":
            case.result = [junitparser.Error(result.seen, text)]
        elif result.status != "passed":
            case.result = [junitparser.Skipped(result.reason)]
        yield case
