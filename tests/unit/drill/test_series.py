"""Several runs as one: all of them are counted, none is dropped."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.drill.series import may_go_on, series
from labctl.drill.verdict import Finding, Outcome, Stage, Verdict


def verdict(measured: float | None, outcome: Outcome = "pass", *findings: Finding, **more: Any) -> Verdict:  # noqa: ANN401
    in_band = None if measured is None else 9 <= measured <= 11
    stage = Stage(name="not_ready", since="fault", predicted_s=(9, 11), measured_s=measured, in_band=in_band)
    fields = {"drill": "d", "lab": "lab", "verdict": outcome, "stages": (stage,), "findings": findings}
    return Verdict.model_validate({**fields, "run_dir": "/runs/1", "victim": "w1", "seed": 1, **more})


def test_the_spread_is_of_all_runs() -> None:
    found = series([verdict(9.5), verdict(12), verdict(10), verdict(None)], 4)
    (stage,) = found.stages
    assert stage.measured_s == (9.5, 12, 10, None)
    assert stage.figures == (9.5, 10, 12)
    assert stage.outside == 1
    assert [run.verdict for run in found.runs] == ["pass"] * 4


def test_a_stage_that_no_run_saw_has_no_figures() -> None:
    (stage,) = series([verdict(None)], 1).stages
    assert (stage.seen, stage.figures) == ([], None)


def test_the_predicted_band_is_that_of_all_runs() -> None:
    wider = verdict(10)
    wider = wider.model_copy(update={"stages": (wider.stages[0].model_copy(update={"predicted_s": (8, 10)}),)})
    never = verdict(10)
    never = never.model_copy(update={"stages": (never.stages[0].model_copy(update={"predicted_s": None}),)})
    assert series([verdict(10), wider, never], 3).stages[0].predicted_s == (8, 11)
    assert series([never], 1).stages[0].predicted_s is None


@pytest.mark.parametrize(
    ("outcomes", "wanted", "worst", "code"),
    [
        (["pass", "pass"], 2, "pass", 0),
        (["pass", "fail", "pass"], 3, "fail", 1),
        (["pass", "inconclusive"], 2, "inconclusive", 3),
        (["fail", "not-injected"], 2, "not-injected", 3),
        (["pass"], 2, "inconclusive", 3),
        (["fail"], 2, "fail", 1),
    ],
)
def test_the_worst_run_counts(outcomes: list[Outcome], wanted: int, worst: Outcome, code: int) -> None:
    found = series([verdict(10, outcome) for outcome in outcomes], wanted)
    assert (found.verdict, found.exit_code) == (worst, code)
    assert sum(found.counts.values()) == len(outcomes)


def test_no_run_follows_one_without_evidence_or_in_a_lab_that_is_not_whole() -> None:
    leftover = Finding(check="recovery", level="fail", text="left over: w1 is off")
    other = Finding(check="service", level="fail", text="not whole")
    assert may_go_on(verdict(10))
    assert may_go_on(verdict(10, "fail", other))
    assert not may_go_on(verdict(10, "fail", leftover))
    assert not may_go_on(verdict(10, "inconclusive"))
    assert not may_go_on(verdict(10, "not-injected"))
