from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from labctl import drill
from labctl.cli import drill as command
from labctl.cli import main
from labctl.drill.series import Series, series
from labctl.report import series as shown
from tests.unit.drill.test_series import verdict


@pytest.fixture
def found() -> Series:
    return series([verdict(9.5), verdict(12.0, run_dir="/runs/2"), verdict(None, "fail", run_dir="/runs/3")], 3)


def test_the_terminal_has_the_spread_and_names_the_runs_that_failed(found: Series) -> None:
    out = io.StringIO()
    shown.show(found, Path("/runs/all"), Console(file=out, width=120))
    text = out.getvalue()
    assert "FAIL 3 of 3 runs of d: 2 pass, 1 fail" in text
    row = next(line for line in text.splitlines() if line.startswith("node NotReady"))
    assert row.split() == ["node", "NotReady", "9.0-11.0", "2", "9.5", "10.8", "12.0", "1"]
    assert "fail: seed 1, w1: /runs/3" in text


def test_the_page_has_every_run_and_needs_no_network(found: Series, tmp_path: Path) -> None:
    shown.write(found, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("report</a>") == 3
    assert "//" not in page.replace("</", "")
    assert Series.model_validate_json((tmp_path / "series.json").read_text()) == found


def test_a_series_of_nothing_measured_has_a_page(tmp_path: Path) -> None:
    shown.write(series([verdict(None, "not-injected")], 2), tmp_path)
    assert "2 were asked for" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("outcomes", "made", "code"), [("pass fail pass", 3, 1), ("pass inconclusive pass", 2, 3)])
def test_runs_go_on_until_there_is_no_evidence(
    outcomes: str, made: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    left, seeds = outcomes.split(), []

    def run(_: drill.Drill, __: str, seed: int | None) -> drill.Verdict:
        seeds.append(seed)
        return verdict(10, left.pop(0))  # type: ignore[arg-type] # an outcome

    monkeypatch.setattr(command, "_run", run)
    monkeypatch.setattr(command, "drills", SimpleNamespace())
    assert main.run(["drill", "worker-poweroff", "--runs", "3", "--seed", "7"]) == code
    assert seeds == list(range(7, 7 + made))
