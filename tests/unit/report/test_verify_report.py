from __future__ import annotations

import io
import re
from pathlib import Path

import junitparser
import pytest
from rich.console import Console

from labctl.report import verify as shown
from labctl.verify.model import Report, Result


def result(**fields: object) -> Result:
    base = {"id": "NODE-001", "title": "it runs", "subject": "lab-cp-1", "status": "passed", "seen": "runs"}
    return Result.model_validate({**base, "why": "Why so.", "fix": "start it", "seconds": 0.5, **fields})


@pytest.fixture
def report() -> Report:
    results = [
        result(),
        result(subject="lab-worker-1", status="failed", seen="<stopped>", expected="runs"),
        result(id="NODE-002", title="swap is off", status="skipped", reason="no swap here"),
        result(id="CIS-1.2.10", title="profiling is off", status="deviates", reason="it is looked into"),
    ]
    fields = {"lab": "lab", "started": "2026-01-01T00:00:00+00:00", "seconds": 4.2, "kubernetes": "1.37.2"}
    return Report.model_validate({**fields, "deep": False, "results": results})


def test_the_terminal_says_what_is_wrong_why_it_matters_and_what_to_do(report: Report) -> None:
    out = io.StringIO()
    shown.show(report, Console(file=out, width=80))
    text = out.getvalue()
    assert "✗ NODE-001    it runs  lab-worker-1 of 2 nodes" in text
    assert "lab-cp-1: skipped: no swap here" in text
    assert "lab-cp-1: deviates: it is looked into" in text
    for line in ("seen     <stopped>", "expected runs", "why      Why so.", "fix      start it"):
        assert line in text
    assert "not what it should be: 1 passed, 1 skipped, 1 deviates, 1 failed in 4.2 s" in text


def test_skips_for_one_reason_are_told_once_if_they_are_many(report: Report) -> None:
    silent = [result(id=f"NODE-00{number}", status="skipped", reason="no answer") for number in range(2, 8)]
    out = io.StringIO()
    shown.show(report.model_copy(update={"results": [*report.results, *silent]}), Console(file=out, width=80))
    assert out.getvalue().count("no answer") == 1
    assert "lab-cp-1: skipped: no answer (6 checks)" in out.getvalue()


def test_a_long_title_stays_in_its_line_in_a_file(report: Report) -> None:
    title = "it runs, " * 20 + "and starts at boot"
    out = io.StringIO()
    shown.show(report.model_copy(update={"results": [result(title=title, status="failed")]}), Console(file=out))
    assert out.getvalue().count(title) == 2


def test_a_lab_without_failures_is_verified(report: Report) -> None:
    out = io.StringIO()
    shown.show(report.model_copy(update={"results": report.results[:1]}), Console(file=out, width=80))
    assert "verified: 1 passed in 4.2 s" in out.getvalue()


def test_junit_counts_failures_and_skips(report: Report, tmp_path: Path) -> None:
    shown.write_junit(report, tmp_path / "junit.xml")
    document = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (document.tests, document.failures, document.skipped, document.errors) == (4, 1, 2, 0)


def test_the_page_needs_no_network_and_shows_what_was_seen_as_text(report: Report, tmp_path: Path) -> None:
    shown.write_html(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "&lt;stopped&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<details open>") == 1


def test_a_page_breaks_no_name_in_two_and_has_the_remedy_of_what_is_wrong(report: Report, tmp_path: Path) -> None:
    """A browser breaks a line at a hyphen too."""
    worse = report.results[1].model_copy(update={"fix": "mend /etc/x"})
    shown.write_html(
        report.model_copy(update={"results": [report.results[0], worse, *report.results[2:]]}), tmp_path / "report.html"
    )
    page = (tmp_path / "report.html").read_text()
    assert re.search(r"\bdt \{[^}]*white-space: nowrap", page)
    assert "minmax(6rem, max-content) 1fr" in page
    assert "mend /etc/x" in page


def test_what_no_terminal_and_no_xml_can_hold_is_spelled_out(report: Report, tmp_path: Path) -> None:
    odd = result(status="failed", seen="\x1b[31mred\x00\ufffe", reason="a\x1b")
    assert (odd.seen, odd.reason) == ("\\x1b[31mred\\x00\\ufffe", "a\\x1b")
    shown.write_junit(report.model_copy(update={"results": [odd]}), tmp_path / "junit.xml")
    assert "[31mred" in (tmp_path / "junit.xml").read_text()


def test_what_is_wrong_comes_first_on_the_page(report: Report, tmp_path: Path) -> None:
    good, bad = result(id="NODE-001"), result(id="CLUSTER-009", status="failed", title="the bad one")
    shown.write_html(report.model_copy(update={"results": [good, bad]}), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.index("What is wrong") < page.index("CLUSTER-009") < page.index("NODE-001")
    assert page.count(">CLUSTER-009<") == 1
