"""What a verdict is: what came of a drill. Frozen, and readable again from its JSON.

Levels of a finding, the worst first; the verdict of a run is its worst finding (`flag` and `info` do not count):

* ``not-injected``: the fault was not proven. Nothing that was measured can be blamed on it, so it outranks all.
* ``fail``: evidence against an expectation. It outranks ``inconclusive``, since a gap elsewhere does not undo evidence;
  a check whose evidence is an *absence* says ``inconclusive`` itself where it may merely not have looked.
* ``inconclusive``: something could not be observed, or a check crashed.
* ``flag``: a number outside its predicted band. Worth reading, no failure: the expectation was met.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import ConfigDict, Field

from labctl.drill.declare import Frozen
from labctl.drill.model import UNPREDICTED, Host, Settings, Since, StageName
from labctl.errors import EXIT_DRILL_FAILED, EXIT_INCONCLUSIVE, EXIT_OK

Outcome = Literal["pass", "inconclusive", "fail", "not-injected"]
Level = Literal["not-injected", "fail", "inconclusive", "flag", "info"]

OUTCOMES: tuple[Outcome, ...] = ("pass", "inconclusive", "fail", "not-injected")
"""From best to worst."""
EXIT_CODES: dict[Outcome, int] = {
    "pass": EXIT_OK,
    "fail": EXIT_DRILL_FAILED,
    "inconclusive": EXIT_INCONCLUSIVE,
    "not-injected": EXIT_INCONCLUSIVE,
}


class Stage(Frozen):
    """A stage of the run: predicted beside measured."""

    name: StageName
    subject: str = ""
    since: Since
    predicted_s: tuple[float, float] | None
    measured_s: float | None
    in_band: bool | None
    note: str = ""

    @property
    def is_odd(self) -> bool:
        """Outside its band, missing though predicted, or seen though it should never be."""
        if self.predicted_s is None:
            return self.measured_s is not None and not self.note.startswith(UNPREDICTED)
        return self.measured_s is None or self.in_band is False


class Remark(NamedTuple):
    """A finding before its check's name is known."""

    level: Level
    text: str
    topic: str = ""
    subject: str = ""


class Finding(Frozen):
    """What a check has to say."""

    check: str
    level: Level
    text: str
    topic: str = ""
    """which of the check's conclusions it is, such as ``not-evicted``: what is said of it in words may change"""
    subject: str = ""
    """the node or the part of the workload that it is about"""


class Promise(Frozen):
    """Something that the drill declared before the run, in words, and whether it was kept (None: not known)."""

    text: str
    is_kept: bool | None


class Advice(Frozen):
    """`why` from what was seen, `change` what to do, `effect` what would be predicted then; empty if nobody can say."""

    why: str
    change: str
    effect: str = ""
    findings: tuple[int, ...] = ()
    """places of the findings that it answers; none: it follows from the plan"""


class Fate(Frozen):
    """A pod (``namespace/name``) that was on a victim, who made it, and what became of it."""

    pod: str
    owner: str
    text: str
    is_lost: bool = False
    node: str = ""


class StreamSummary(Frozen):
    """The requests of one stream from the fault to the heal."""

    name: str
    sent: int
    ok: int
    failed: dict[str, int]
    """by class; `discarded` (never sent) counts as failed"""
    first_failed_s: float | None
    last_failed_s: float | None
    """intended send times, seconds after the fault"""
    latency_p50_s: float | None
    latency_max_s: float | None
    """of answered requests, from the intended send time"""


class Verdict(Frozen):
    """The outcome. `schema`, `drill`, `verdict`, `stages`, `findings`, `run_dir` are a contract with scripts."""

    schema_name: Literal["labctl.verdict/v1"] = Field("labctl.verdict/v1", alias="schema")
    drill: str
    lab: str
    verdict: Outcome
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...]
    run_dir: str
    victim: str
    """the machines that were hit, with commas"""
    seed: int
    fault_uncertainty_s: float | None = None
    requests: tuple[StreamSummary, ...] = ()
    promises: tuple[Promise, ...] = ()
    advice: tuple[Advice, ...] = ()
    pods: tuple[Fate, ...] = ()
    settings: Settings | None = None
    host: Host = Host()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def exit_code(self) -> int:
        """What labctl ends with."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> str:
        """The contract's JSON."""
        return self.model_dump_json(by_alias=True, indent=2)


def worst(findings: tuple[Finding, ...]) -> Outcome:
    """The verdict that `findings` make."""
    ranks = [OUTCOMES.index(f.level) for f in findings if f.level in OUTCOMES]
    return OUTCOMES[max(ranks, default=0)]
