"""Several runs of one drill as one: of each stage the spread, and all runs by name. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import ConfigDict, Field

from labctl.drill.declare import Frozen
from labctl.drill.model import Since, StageName
from labctl.drill.verdict import EXIT_CODES, OUTCOMES, Outcome, Verdict


class Spread(Frozen):
    """A stage over all runs, in seconds; `measured_s` in the order of the runs, None where it was not seen."""

    name: StageName
    subject: str = ""
    since: Since
    predicted_s: tuple[float, float] | None
    """from the lowest to the highest that any run predicted"""
    measured_s: tuple[float | None, ...]
    outside: int
    """runs in which it was outside of that run's own band"""
    note: str = ""
    """what all runs said of it"""

    @property
    def seen(self) -> list[float]:
        """The measured ones."""
        return [seconds for seconds in self.measured_s if seconds is not None]

    @property
    def figures(self) -> tuple[float, float, float] | None:
        """Minimum, median and maximum; None if it was never seen."""
        return (min(self.seen), median(self.seen), max(self.seen)) if self.seen else None


class RunOfSeries(Frozen):
    """Where a run is, and what came of it."""

    run_dir: str
    verdict: Outcome
    victim: str
    seed: int


class Series(Frozen):
    """The result of `labctl drill NAME --runs N`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_name: Literal["labctl.series/v1"] = Field("labctl.series/v1", alias="schema")
    drill: str
    lab: str
    wanted: int
    """runs that were asked for"""
    verdict: Outcome
    """of the worst run; at best inconclusive if there were fewer than asked for"""
    stages: tuple[Spread, ...]
    runs: tuple[RunOfSeries, ...]

    @property
    def counts(self) -> Counter[Outcome]:
        """How many runs ended how."""
        return Counter(run.verdict for run in self.runs)

    @property
    def exit_code(self) -> int:
        """What labctl ends with."""
        return EXIT_CODES[self.verdict]


def series(verdicts: Sequence[Verdict], wanted: int) -> Series:
    """Put runs of one drill together; there is at least one."""
    outcomes: list[Outcome] = [verdict.verdict for verdict in verdicts]
    if len(verdicts) < wanted:
        outcomes.append("inconclusive")
    return Series(
        drill=verdicts[0].drill,
        lab=verdicts[0].lab,
        wanted=wanted,
        verdict=max(outcomes, key=OUTCOMES.index),
        stages=tuple(_spread(verdicts, name, place) for name, place in _places(verdicts[0])),
        runs=tuple(RunOfSeries(run_dir=v.run_dir, verdict=v.verdict, victim=v.victim, seed=v.seed) for v in verdicts),
    )


def may_go_on(verdict: Verdict) -> bool:
    """Whether another run may follow: not after one without evidence, nor in a lab that is not whole."""
    is_left = any(finding.check == "recovery" and finding.level == "fail" for finding in verdict.findings)
    return verdict.verdict in ("pass", "fail") and not is_left


def _places(verdict: Verdict) -> list[tuple[StageName, int]]:
    """Stages by name and place among those of that name: which node it is differs from run to run."""
    seen: Counter[StageName] = Counter()
    found = []
    for stage in verdict.stages:
        found.append((stage.name, seen[stage.name]))
        seen[stage.name] += 1
    return found


def _spread(verdicts: Sequence[Verdict], name: StageName, place: int) -> Spread:
    named = [[stage for stage in verdict.stages if stage.name == name] for verdict in verdicts]
    stages = [found[place] for found in named if len(found) > place]
    bands = [stage.predicted_s for stage in stages if stage.predicted_s]
    subjects, notes = {stage.subject for stage in stages}, {stage.note for stage in stages}
    return Spread(
        name=name,
        subject=subjects.pop() if len(subjects) == 1 else "",
        since=stages[0].since,
        predicted_s=(min(low for low, _ in bands), max(high for _, high in bands)) if bands else None,
        measured_s=tuple(stage.measured_s for stage in stages),
        outside=sum(stage.in_band is False for stage in stages),
        note=notes.pop() if len(notes) == 1 else "",
    )
