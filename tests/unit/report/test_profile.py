"""Spans and the critical path."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from labctl.report import profile
from labctl.report.profile import Span


def events(folder: Path) -> Path:
    lines = [
        {"t": 0.0, "event": "StepStarted", "step": "machines", "text": ""},
        {"t": 2.0, "event": "StepFinished", "step": "machines", "seconds": 2.0},
        {"t": 2.0, "event": "StepStarted", "step": "cluster", "text": ""},
        {"t": 3.0, "event": "TaskFinished", "task": "Look", "host": "a", "result": "ok", "seconds": 1.0},
        {"t": 3.1, "event": "TaskFinished", "task": "Skip", "host": "a", "result": "skipped", "seconds": 0.1},
        {"t": 8.0, "event": "TaskFinished", "task": "Init", "host": "a", "result": "changed", "seconds": 5.0},
        {"t": 9.0, "event": "TaskFinished", "task": "Join", "host": "b<i>", "result": "changed", "seconds": 6.0},
        {"t": 9.5, "event": "StepFinished", "step": "cluster", "seconds": 7.5},
    ]
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_critical_path_is_what_the_end_waited_for(tmp_path: Path) -> None:
    found = profile.read(events(tmp_path))
    assert [(span.row, span.name) for span in found.critical] == [
        ("labctl", "machines"),
        ("a", "Look"),
        ("b<i>", "Join"),
    ]
    assert found.seconds == 9.5


def test_a_task_lasts_from_its_start_on_its_host(tmp_path: Path) -> None:
    """Skipped ones took nothing; none began before the command did."""
    path = events(tmp_path)
    early = {"t": 0.5, "event": "TaskFinished", "task": "Early", "host": "a", "result": "failed", "seconds": 0.6}
    path.write_text(path.read_text() + json.dumps(early) + "\n")
    assert profile.read(path).tasks == [
        Span("a", "Look", 2.0, 3.0),
        Span("a", "Init", 3.0, 8.0, is_changed=True),
        Span("b<i>", "Join", 3.0, 9.0, is_changed=True),
        Span("a", "Early", 0.0, 0.5),
    ]


def test_of_two_that_end_together_the_end_waited_for_the_longer_one() -> None:
    long, short = Span("a", "long", 0, 9), Span("b", "short", 8, 9)
    assert profile.critical_path([long, short]) == profile.critical_path([short, long]) == [long]


def test_a_row_is_worth_some_time(tmp_path: Path) -> None:
    spans = [Span("labctl", "blink", 0, 0.01), Span("labctl", "work", 1, 2)]
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(profile.table(profile.Profile(spans, [], spans)))
    text = console.export_text()
    assert "work" in text
    assert "blink" not in text


def test_the_table_accounts_for_all_seconds(tmp_path: Path) -> None:
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(profile.table(profile.read(events(tmp_path))))
    text = console.export_text()
    assert "9.5 s" in text
    assert "0.50" in text, "what no task took"


def test_the_chart_needs_nothing_else_and_escapes_names(tmp_path: Path) -> None:
    target = tmp_path / "profile.html"
    profile.write_html(profile.read(events(tmp_path)), target)
    text = target.read_text()
    assert "b&lt;i&gt;" in text
    assert "http" not in text
    assert text.count('class="hot"') == 3


spans = st.builds(
    lambda start, seconds, row: Span(row, "x", start, start + seconds),
    st.floats(0, 100),
    st.floats(0.01, 50),
    st.sampled_from("abc"),
)


@given(st.lists(spans, min_size=1, max_size=30))
def test_a_path_never_overlaps_and_ends_at_the_end(found: list[Span]) -> None:
    path = profile.critical_path(found)
    assert path[-1].end == max(span.end for span in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(path))
