"""The phases of a run: gate, baseline, inject, observe, heal, recovery, judge.

Whatever happens after the intent is on disk (an exception, the first Ctrl-C), the fault is healed and the run is judged
from what is in the history; it is then ``inconclusive`` at best. A second Ctrl-C leaves; the journal stays open, and
`recover` knows what to do. A SIGTERM is as good as a Ctrl-C.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from labctl.drill import gate, measure
from labctl.drill.faults import FAULTS
from labctl.drill.history import History
from labctl.drill.journal import Journal
from labctl.drill.judge import judge, read_run
from labctl.drill.lab import DrillLab, Observer
from labctl.drill.model import Drill, Plan, Verdict
from labctl.drill.observe import Watches
from labctl.drill.recovery import recover
from labctl.drill.timeline import Timeline
from labctl.errors import InconclusiveError, LabError, command_for
from labctl.events import Emit, Progress, StepFinished, StepStarted, Warned

PHASES = ("gate", "baseline", "inject", "observe", "heal", "recovery")
_TICK_S = 0.1
_SETTLE_LIMIT_S = 20.0
_SETTLED_S = 1.0
_BARE_LIMIT_S = 60.0
_WORDS = {
    "not_ready": "NotReady",
    "tainted": "tainted",
    "evicted": "evicted",
    "replaced": "replaced",
    "returned": "Ready again",
}


def run(drill: Drill, lab: DrillLab, run_dir: Path, emit: Emit, seed: int | None = None) -> Verdict:
    """Run `drill` and judge it; plan.json and history.jsonl are in `run_dir` afterwards."""
    chosen = random.randrange(2**31) if seed is None else seed  # noqa: S311 - printed, so that it can be repeated
    gate.check(drill, lab)
    journal = Journal(lab.journal, lab.name)
    journal.intend(drill.name, "workload", run_dir=str(run_dir))
    try:
        with _step(emit, lab, "gate", "workload, live settings and victim"):
            plan = gate.plan(drill, lab, chosen)
            (run_dir / "plan.json").write_text(plan.model_dump_json(indent=2), encoding="utf-8")
    except BaseException:
        _leave(lab, emit)
        raise
    _Run(plan, lab, run_dir, emit).execute()
    return judge(read_run(run_dir), run_dir)


@contextmanager
def _step(emit: Emit, lab: DrillLab, name: str, text: str) -> Iterator[None]:
    emit(StepStarted(name, text))
    start = lab.clock.now()
    yield
    emit(StepFinished(name, round(lab.clock.now() - start, 2)))


def _leave(lab: DrillLab, emit: Emit) -> None:
    """Before any fault: remove the workload again."""
    for leftover in recover(lab, emit).leftovers:
        emit(Warned(f"left over: {leftover}"))


class _Run:
    """One run, from its plan to its history."""

    def __init__(self, plan: Plan, lab: DrillLab, run_dir: Path, emit: Emit) -> None:
        self.plan = plan
        self.lab = lab
        self.emit = emit
        self.run_dir = run_dir
        self.fault = FAULTS[plan.drill.fault]
        self.timeline = Timeline(plan)
        self.history = History(run_dir / "history.jsonl", lab.clock.now, self.timeline.feed)
        self.observers: list[Observer] = [Watches(lab.cluster), *lab.observers(plan)]
        self.is_intended = False
        self.is_interrupted = False
        self._current = "baseline"
        self._said: set[str] = set()

    def execute(self) -> None:
        """All phases; the history is on disk afterwards, whatever happened."""
        phases: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("baseline", "steady state, without a fault", self.baseline),
            ("inject", f"{self.plan.victim}: {self.fault.doing}", self.inject),
            ("observe", "what Kubernetes does about it", self.observe),
        )
        try:
            try:
                for name, text, action in phases:
                    self._phase(name, text, action)
            except KeyboardInterrupt:
                self._interrupted()
            except Exception as error:  # noqa: BLE001 - whatever it was, the fault must be healed
                self._crash(str(error) or repr(error))
            self._undo()
        finally:
            for observer in self.observers:
                observer.stop()
            self.history.close()

    def _undo(self) -> None:
        """Heal and recover. The first Ctrl-C of the run begins this again, for all of it may be done twice."""
        try:
            self._heal_and_recover()
        except KeyboardInterrupt:
            if self.is_interrupted:
                raise
            self._interrupted()
            self._heal_and_recover()

    def _heal_and_recover(self) -> None:
        if self.is_intended:
            self._phase("heal", f"{self.plan.victim}: {self.fault.undoing}", self.heal)
        self._phase("recovery", "the lab must be whole again", self.recovery)

    def _interrupted(self) -> None:
        self.is_interrupted = True
        self._crash("interrupted")
        recovers = command_for(self.lab.name, "recover")
        self.emit(Warned(f"interrupted: healing; a second Ctrl-C leaves, {recovers} goes on from there"))

    # -- phases

    def baseline(self) -> None:
        """Observers on; then nothing may fail for a while."""
        for observer in self.observers:
            observer.start(self.history)
        if not self._until(self._is_settled, _SETTLE_LIMIT_S):
            raise InconclusiveError(f"the service did not answer steadily within {_SETTLE_LIMIT_S:.0f} s")
        self.history.record("phase", name="baseline")
        self._pause(self.plan.drill.baseline_s + self.plan.delay_s)
        failed = measure.baseline_failures(self.timeline)
        if failed:
            raise InconclusiveError(f"{len(failed)} requests failed before any fault ({failed[0].kind})")
        self._snapshot("before")

    def inject(self) -> None:
        """Intent on disk, then the fault, then its proof."""
        plan, journal = self.plan, Journal(self.lab.journal, self.lab.name)
        restore = tuple(f"{pod.namespace}/{pod.name}" for pod in plan.restore)
        journal.intend(
            plan.drill.name, plan.drill.fault, machine=plan.victim, restore=restore, run_dir=str(self.run_dir)
        )
        self.is_intended = True
        self.history.record("fault", step="call", machine=plan.victim)
        self.fault.inject(self.lab, plan.victim, plan.undo_after_s)
        self.history.record("fault", step="done")
        is_proven = self._until(
            lambda: self.fault.is_proven(self.lab, plan.victim, self.timeline), plan.drill.proof_limit_s
        )
        self.history.record("fault", step="proof" if is_proven else "no-proof", power=self.lab.power.power(plan.victim))
        word = self.fault.proven if is_proven else f"has NOT been proven to have {self.fault.unproven}"
        self.emit(Progress(f"{plan.victim} {word}"))

    def observe(self) -> None:
        """Until all expected stages were seen, or until they are overdue."""
        if not self.timeline.proven:
            return
        fault = self.history.since_start(self.lab.clock.now()) - (self.timeline.fault or 0.0)
        self._until(self._has_seen_all, max(0.0, self.plan.observe_limit_s - fault))
        self._pause(self.plan.drill.hold_s)

    def heal(self) -> None:
        """Undo the fault."""
        self.history.record("heal", step="call")
        try:
            self.fault.heal(self.lab, self.plan.victim)
        except Exception as error:  # noqa: BLE001 - recovery has its turn, and looks at the world
            self._crash(str(error) or repr(error))
        self.history.record("heal", step="done")

    def recovery(self) -> None:
        """Wait for the node, list the pods as they are now, then take the drill's traces away."""
        is_on = self.lab.power.power(self.plan.victim) == "on"
        if "not_ready" in self.timeline.marks and is_on:
            self.emit(Progress(f"waiting for {self.plan.victim} to be Ready again"))
            self._until(lambda: "returned" in self.timeline.marks, self.plan.drill.return_limit_s)
            self._until(lambda: self.timeline.bare_gone is not None, _BARE_LIMIT_S)
        try:
            self._snapshot("after")
        except LabError as error:
            self._crash(f"pods were not listed: {error}")
        for observer in self.observers:
            observer.stop()
        for leftover in recover(self.lab, self.emit).leftovers:
            self.history.record("leftover", text=leftover)

    # -- helpers

    def _phase(self, name: str, text: str, action: Callable[[], None]) -> None:
        if name != "baseline":  # the baseline begins when all observers run and the service is steady
            self.history.record("phase", name=name)
        self._current = name
        with _step(self.emit, self.lab, name, text):
            action()
        self.history.sync()

    def _crash(self, text: str) -> None:
        self.history.record("crash", phase=self._current, text=text)

    def _snapshot(self, name: str) -> None:
        self.history.record("snapshot", name=name, pods=[asdict(pod) for pod in self.lab.cluster.pods()])

    def _is_settled(self) -> bool:
        """Every stream has had a second of good answers."""
        now = self.history.since_start(self.lab.clock.now())
        for stream in self.plan.streams:
            spec = stream.spec
            recent = [
                r
                for r in self.timeline.requests[-500:]
                if r.stream == spec.name and r.intended > now - _SETTLED_S - spec.timeout_s
            ]
            last = recent[-max(1, int(spec.rate * _SETTLED_S)) :]
            if len(last) < int(spec.rate * _SETTLED_S) or not all(r.is_ok for r in last):
                return False
        return True

    def _has_seen_all(self) -> bool:
        expected = [p.name for p in self.plan.predictions if p.band and p.since == "fault"]
        marked = [name for name in expected if name != "service_restored"]
        is_bare_done = self.timeline.bare_evicted is not None or self.plan.prediction("evicted").band is None
        return is_bare_done and all(name in self.timeline.marks for name in marked)

    def _until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        end = self.lab.clock.now() + limit_s
        while not condition():
            self._announce()
            if self.lab.clock.now() >= end:
                return False
            self.lab.clock.sleep(_TICK_S)
        self._announce()
        return True

    def _pause(self, seconds: float) -> None:
        self._until(lambda: False, seconds)

    def _announce(self) -> None:
        """Say which stages were reached since the last time."""
        for prediction in self.plan.predictions:
            seconds = self.timeline.since_fault(prediction.name)
            if seconds is None or prediction.name in self._said:
                continue
            self._said.add(prediction.name)
            band = f"predicted {prediction.band}" if prediction.band else "not predicted"
            when = f"{seconds:.1f} s after the heal" if prediction.since == "heal" else f"after {seconds:.1f} s"
            self.emit(Progress(f"{_WORDS[prediction.name]} {when} ({band})"))
