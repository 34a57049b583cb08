from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from labctl.drill.verdict import Finding, Level, Stage, StreamSummary, Verdict
from labctl.report import terminal


def verdict(**changes: Any) -> Verdict:  # noqa: ANN401 - any field
    made: dict[str, Any] = {
        "drill": "worker-poweroff",
        "verdict": "fail",
        "stages": (
            Stage(name="not_ready", since="fault", predicted_s=(8.96, 11.5), measured_s=9.84, in_band=True),
            Stage(name="evicted", since="fault", predicted_s=(18.9, 22.2), measured_s=31.2, in_band=False),
            Stage(name="replaced", since="fault", predicted_s=(18.9, 27.2), measured_s=None, in_band=None),
        ),
        "findings": (Finding(check="deployment", level="fail", text="did not come back [elsewhere]"),),
        "lab": "two",
        "run_dir": "/lab/runs/x",
        "victim": "lab-worker-1",
        "seed": 7,
        "fault_uncertainty_s": 0.12,
        "requests": (
            StreamSummary(
                name="survivor",
                sent=600,
                ok=500,
                failed={"refused": 2, "timeout": 98},
                first_failed_s=0.05,
                last_failed_s=9.8,
                latency_p50_s=0.002,
                latency_max_s=0.1,
            ),
        ),
    }
    return Verdict(**{**made, **changes})


def shown(made: Verdict, *, is_terminal: bool = False, width: int = 120) -> str:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=width)
    terminal.show(made, Path("/lab/runs/x"), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_outcome_comes_first() -> None:
    assert shown(verdict()).startswith("FAIL worker-poweroff on lab-worker-1 (seed 7)\n")


def test_measured_stands_beside_predicted() -> None:
    rows = [line.split("  ") for line in shown(verdict()).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()][:4] for row in rows]
    assert ["node NotReady", "9.0-11.5", "9.8", "yes"] in cells
    assert ["pods evicted", "18.9-22.2", "31.2", "NO"] in cells
    assert ["replacement Ready elsewhere", "18.9-27.2", "-", "-"] in cells


def test_requests_findings_and_files_are_named() -> None:
    text = shown(verdict())
    assert "requests, survivor: 100 of 600 failed (2 refused, 98 timeout, sent 0.1 to 9.8 s after the fault)" in text
    assert "fail: deployment: did not come back [elsewhere]" in text
    assert "report: /lab/runs/x/report.html (report.md, junit.xml, verdict.json beside it;" in text
    assert "0.12 s later" in text


@pytest.mark.parametrize(
    ("outcome", "level", "reason"),
    [
        ("not-injected", "not-injected", "no proof that lab-worker-1 lost its power"),
        ("inconclusive", "inconclusive", "the fault was never asked for"),
    ],
)
def test_a_fault_that_never_was_has_a_reason_and_a_way_on_and_no_stages(
    outcome: str, level: Level, reason: str
) -> None:
    text = shown(verdict(verdict=outcome, findings=(Finding(check="injected", level=level, text=reason),)))
    assert text.startswith(f"{outcome.upper()} worker-poweroff on lab-worker-1")
    assert f"{level}: injected: {reason}" in text
    assert "labctl recover --lab two makes sure" in text
    assert "labctl drill --lab two worker-poweroff once more" in " ".join(text.split())
    assert "report: /lab/runs/x/report.html" in text
    for word in ("predicted", "NotReady", "requests", "sign of life"):
        assert word not in text


def test_on_a_narrow_terminal_every_stage_keeps_its_line() -> None:
    note = "a replica elsewhere takes over at NotReady"
    stage = Stage(name="replaced", since="fault", predicted_s=(118.9, 127.2), measured_s=120.1, in_band=True, note=note)
    lines = shown(verdict(stages=(stage,)), width=80).splitlines()
    assert [line.split() for line in lines if "118.9" in line] == [
        ["replacement", "Ready", "elsewhere", "118.9-127.2", "120.1", "yes"]
    ]
    assert f"replacement Ready elsewhere: {note}" in lines


def test_a_pipe_gets_no_escape_codes_and_a_terminal_does() -> None:
    assert "\x1b" not in shown(verdict())
    assert "\x1b" in shown(verdict(), is_terminal=True)


def test_a_clean_pass() -> None:
    whole = StreamSummary(
        name="survivor",
        sent=10,
        ok=10,
        failed={},
        first_failed_s=None,
        last_failed_s=None,
        latency_p50_s=0.002,
        latency_max_s=0.1,
    )
    text = shown(verdict(verdict="pass", findings=(), requests=(whole,)))
    assert text.startswith("PASS")
    assert "all 10 answered" in text
