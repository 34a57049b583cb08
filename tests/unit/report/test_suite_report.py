"""A suite's page: what went wrong comes first."""

from __future__ import annotations

from pathlib import Path

from labctl.report.suite import Entry, suite, write
from tests.unit.report.test_terminal import verdict


def test_the_page_has_the_worst_first_and_says_how_many_came_to_what(tmp_path: Path) -> None:
    entries = [
        Entry(drill="good-one", verdict=verdict(verdict="pass", findings=())),
        Entry(drill="bad-one", verdict=verdict(verdict="fail")),
        Entry(drill="other-good-one", verdict=verdict(verdict="pass", findings=())),
        Entry(drill="no-netem", unsupported="this kernel has no module sch_netem"),
    ]
    write(suite(entries, "l", 4), tmp_path)
    page = (tmp_path / "report.html").read_text()
    places = [page.index(f"<b>{name}</b>") for name in ("bad-one", "no-netem", "good-one", "other-good-one")]
    assert places == sorted(places)
    assert '<b class="pass">2 pass</b>' in page
    assert "this kernel has no module sch_netem" in page
    assert "//" not in page.replace("</", "")
