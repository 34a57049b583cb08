"""The phases of a run: gate, baseline, inject, observe, heal, recovery, judge.

Whatever happens after the intent is on disk (an exception, the first Ctrl-C), the fault is healed and the run is judged
from what is in the history; it is then ``inconclusive`` at best. A second Ctrl-C leaves; the journal stays open, and
`recover` knows what to do. A SIGTERM is as good as a Ctrl-C.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from labctl.drill import gate, measure
from labctl.drill.declare import Drill, Step
from labctl.drill.faults import Hit
from labctl.drill.history import History
from labctl.drill.journal import Journal
from labctl.drill.judge import judge, read_run
from labctl.drill.lab import DrillLab, Observer
from labctl.drill.model import Plan, PlannedStep
from labctl.drill.observe import Watches
from labctl.drill.recovery import recover
from labctl.drill.registry import fault, foreign_observers
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Verdict
from labctl.errors import InconclusiveError, LabError, command_for
from labctl.events import Emit, Progress, StepFinished, StepStarted, Warned

PHASES = ("gate", "baseline", "inject", "observe", "heal", "recovery")
_TICK_S = 0.1
_SETTLE_LIMIT_S = 20.0
_SETTLED_S = 1.0
_LEAVE_LIMIT_S = 60.0
_SETUP_LIMIT_S = 15.0
_WORDS = {
    "not_ready": "NotReady",
    "tainted": "tainted",
    "evicted": "evicted",
    "replaced": "replaced",
    "preempted": "preempted",
    "returned": "Ready again",
    "rebalanced": "used again",
}


def run(drill: Drill, lab: DrillLab, run_dir: Path, emit: Emit, seed: int | None = None) -> Verdict:
    """Run `drill` and judge it; plan.json and history.jsonl are in `run_dir` afterwards."""
    chosen = random.randrange(2**31) if seed is None else seed  # noqa: S311 - printed, so that it can be repeated
    gate.check(drill, lab)
    journal = Journal(lab.journal, lab.name)
    journal.intend(drill.name, "workload", run_dir=str(run_dir))

    def prepare(step: Step, hit: Hit) -> None:
        _prepare(drill, lab, run_dir, step, hit)

    try:
        with _step(emit, lab, "gate", "workload, live settings and victim"):
            plan = gate.plan(drill, lab, chosen, prepare)
            (run_dir / "plan.json").write_text(plan.model_dump_json(by_alias=True, indent=2), encoding="utf-8")
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


def _prepare(drill: Drill, lab: DrillLab, run_dir: Path, step: Step, hit: Hit) -> None:
    """Set the scene on one machine: intent, then the change, then a look whether it is so."""
    chosen, journal = fault(step.fault), Journal(lab.journal, lab.name)
    hit = replace(hit, before=chosen.look(lab, hit))
    journal.intend(drill.name, step.fault, machine=hit.machine, run_dir=str(run_dir), before=hit.before)
    chosen.inject(lab, hit)
    end = lab.clock.now() + _SETUP_LIMIT_S * lab.patience
    while not chosen.is_proven(lab, hit, None):
        if lab.clock.now() >= end:
            raise InconclusiveError(f"the setup was not seen to work: {hit.machine} {chosen.proven}: no")
        lab.clock.sleep(_TICK_S)


class _Run:
    """One run, from its plan to its history."""

    def __init__(self, plan: Plan, lab: DrillLab, run_dir: Path, emit: Emit) -> None:
        self.plan = plan
        self.lab = lab
        self.emit = emit
        self.run_dir = run_dir
        self.timeline = Timeline(plan)
        self.history = History(run_dir / "history.jsonl", lab.clock.now, self.timeline.feed)
        self.observers: list[Observer] = [
            Watches(lab.cluster),
            *lab.observers(plan),
            *foreign_observers(plan),
        ]
        self.hits: list[tuple[PlannedStep, Hit]] = []
        """what was intended, in that order; healed in the opposite one"""
        self.left = list(enumerate(plan.steps))
        self.is_interrupted = False
        self._current = "baseline"
        self._said: set[tuple[str, str]] = set()

    def execute(self) -> None:
        """All phases; the history is on disk afterwards, whatever happened."""
        doing = "; ".join(dict.fromkeys(step.doing for step in self.plan.steps if self._is_at_once(step.step)))
        phases: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("baseline", "steady state, without a fault", self.baseline),
            ("inject", f"{self.plan.victim}: {doing}", self.inject),
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
        if self.hits:
            words = dict.fromkeys(fault(planned.step.fault).undoing for planned, _ in reversed(self.hits))
            self._phase("heal", f"{self.plan.victim}: {'; '.join(words)}", self.heal)
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
        limit = _SETTLE_LIMIT_S * self.lab.patience
        if not self._until(self._is_settled, limit):
            raise InconclusiveError(f"the service did not answer steadily within {limit:.0f} s")
        self.history.record("phase", name="baseline")
        self._pause(self.plan.drill.baseline_s + self.plan.delay_s)
        failed = measure.baseline_failures(self.timeline)
        if failed:
            raise InconclusiveError(f"{len(failed)} requests failed before any fault ({failed[0].kind})")
        self._snapshot("before")

    def inject(self) -> None:
        """The steps that come at once, each with its intent on disk before, then their proof."""
        done: list[tuple[int, PlannedStep, list[Hit]]] = []
        while self.left and self._is_at_once(self.left[0][1].step):
            number, planned = self.left.pop(0)
            done.append((number, planned, self._do(number, planned)))
        for number, planned, hits in done:
            self._prove(number, planned, hits)

    def observe(self) -> None:
        """Until all expected stages were seen, or until they are overdue; later steps come when they are due."""
        if not self.timeline.proven:
            return
        self._until(self._has_seen_all, max(0.0, self.plan.observe_limit_s - self._since_fault()))
        self._pause(self.plan.drill.hold_s)
        if self.plan.drill.expect.api_answers:
            self._snapshot("held")

    def heal(self) -> None:
        """Undo all steps, the last one first."""
        self.history.record("heal", step="call")
        for planned, hit in reversed(self.hits):
            try:
                fault(planned.step.fault).heal(self.lab, hit)
            except Exception as error:  # noqa: BLE001 - recovery has its turn, and looks at the world
                self._crash(f"{hit.machine}: {str(error) or repr(error)}")
        self.history.record("heal", step="done")

    def recovery(self) -> None:
        """Wait for the nodes, list the pods as they are now, then take the drill's traces away."""
        limit = self.plan.drill.return_limit_s * self.lab.patience
        for victim in self.plan.victims:
            was_lost = ("not_ready", victim.name) in self.timeline.marks
            if was_lost and self.lab.power.power(victim.name) == "on":
                self.emit(Progress(f"waiting for {victim.name} to be Ready again"))
                self._until(self._returned(victim.name), limit)
                self._until(self._has_let_go, _LEAVE_LIMIT_S * self.lab.patience)
        if not self._until(self._is_listed, limit):
            self._crash(f"pods were not listed within {limit:.0f} s")
        for observer in self.observers:
            observer.stop()
        for leftover in recover(self.lab, self.emit).leftovers:
            self.history.record("leftover", text=leftover)

    # -- steps

    @staticmethod
    def _is_at_once(step: Step) -> bool:
        return not step.after_s and step.when is None

    def _do(self, number: int, planned: PlannedStep) -> list[Hit]:
        """One step on all of its machines."""
        step, plan = planned.step, self.plan
        chosen, journal = fault(step.fault), Journal(self.lab.journal, self.lab.name)
        restore = tuple(f"{pod.namespace}/{pod.name}" for pod in plan.restore)
        hits = []
        for machine in planned.machines:
            args = {**self.lab.surroundings(machine), **step.args}
            hit = Hit(machine, args, plan.undo_after_s)
            hit = replace(hit, before="" if step.undo else chosen.look(self.lab, hit))
            journal.intend(
                plan.drill.name,
                step.fault,
                machine=machine,
                restore=restore,
                run_dir=str(self.run_dir),
                before=hit.before,
            )
            if not step.undo:
                self.hits.append((planned, hit))
            hits.append(hit)
        what: dict[str, Any] = {"n": number, "fault": step.fault, "machines": list(planned.machines)}
        if step.undo:
            self.history.record("fault", step="undo", **what)
            for hit in hits:
                chosen.heal(self.lab, self._first_hit(step.fault, hit))
            self.history.record("fault", step="undone", **what)
            return []
        self.history.record("fault", step="call", **what)
        for hit in hits:
            chosen.inject(self.lab, hit)
        self.history.record("fault", step="done", **what)
        return hits

    def _first_hit(self, name: str, hit: Hit) -> Hit:
        """The earlier hit that is undone by this one."""
        return next((h for planned, h in self.hits if planned.step.fault == name and h.machine == hit.machine), hit)

    def _prove(self, number: int, planned: PlannedStep, hits: list[Hit]) -> None:
        chosen = fault(planned.step.fault)
        for hit in hits:
            is_proven = self._until(
                lambda hit=hit: chosen.is_proven(self.lab, hit, self.timeline),  # type: ignore[misc]
                self.plan.drill.proof_limit_s,
            )
            step = "proof" if is_proven else "no-proof"
            self.history.record("fault", step=step, n=number, fault=planned.step.fault, machines=[hit.machine])
            word = chosen.proven if is_proven else f"has NOT been proven to have {chosen.unproven}"
            self.emit(Progress(f"{hit.machine} {word}"))

    def _go_on(self) -> None:
        """Carry out the next step if it is due."""
        if self._current != "observe" or not self.left or not self._is_due(self.left[0][1].step):
            return
        number, planned = self.left.pop(0)
        self.emit(Progress(f"{', '.join(planned.machines)}: {planned.doing}"))
        self._prove(number, planned, self._do(number, planned))

    def _is_due(self, step: Step) -> bool:
        if step.when is None or step.when == "proof":
            return self._since_fault() >= step.after_s
        times = [t for (name, _), t in self.timeline.marks.items() if name == step.when]
        now = self.history.since_start(self.lab.clock.now())
        return bool(times) and now - min(times) >= step.after_s

    def _since_fault(self) -> float:
        return self.history.since_start(self.lab.clock.now()) - (self.timeline.fault or 0.0)

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
        """All steps carried out, all predicted stages seen, and what must not happen had its time."""
        self._go_on()
        marked = [(p.name, p.subject) for p in self.plan.awaited if p.name != "service_restored"]
        is_long = self._since_fault() >= self.plan.watch_s
        return not self.left and is_long and all(mark in self.timeline.marks for mark in marked)

    def _is_listed(self) -> bool:
        """The pods, as they are after the heal. The API's machine, or its etcd, may not be back yet."""
        try:
            self._snapshot("after")
        except LabError:
            return False
        return True

    def _returned(self, machine: str) -> Callable[[], bool]:
        return lambda: ("returned", machine) in self.timeline.marks

    def _has_let_go(self) -> bool:
        """The evicted pods are gone: a machine that is back confirms their end."""
        return all(uid in self.timeline.gone for uid in self.timeline.evicted)

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
            name, subject = prediction.name, prediction.subject
            seconds = self.timeline.since_fault(name, subject)
            if seconds is None or (name, subject) in self._said:
                continue
            self._said.add((name, subject))
            band = f"predicted {prediction.band}" if prediction.band else "not predicted"
            when = f"{seconds:.1f} s after the heal" if prediction.since == "heal" else f"after {seconds:.1f} s"
            self.emit(Progress(f"{subject}: {_WORDS[name]} {when} ({band})"))
