"""The whole engine in a fake world: every phase, every verdict, every way to be cut off. A minute takes 10 ms."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.drill import DrillLab, Verdict, broken, drills, history, recover, run
from labctl.drill.journal import Journal
from labctl.drill.judge import judge, read_run
from labctl.drill.lab import Document, Observer
from labctl.drill.model import Plan
from labctl.errors import InconclusiveError, LabError, StateError, UsageError
from labctl.events import Event, Progress, StepStarted
from labctl.kube.objects import Pod
from labctl.providers.base import Power
from tests.fakes import FakeCluster, FakeObserver, FakePower, World, drill_lab

DRILL = drills()["worker-poweroff"]


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def go(world: World, run_dir: Path, emit: Callable[[Event], None] = ignore, *, fails_always: bool = False) -> Verdict:
    return run(DRILL, drill_lab(world, run_dir.parent, fails_always=fails_always), run_dir, emit, seed=1)


def levels(verdict: Verdict) -> dict[str, str]:
    return {finding.check: finding.level for finding in verdict.findings}


def is_whole(world: World, lab: DrillLab) -> bool:
    machines_on = all(m.power == "on" for m in world.machines.values()) and all(world.alive.values())
    nodes_ready = all(node.ready for node in world.nodes.values())
    no_trace = not any(pod.namespace == "labctl-drill" for pod in world.pods.values())
    no_class = not any(kind == "PriorityClass" for kind, _, _ in world.objects)
    return machines_on and nodes_ready and no_trace and no_class and not Journal(lab.journal, lab.name).open_intents()


def test_a_worker_dies_and_everything_goes_as_predicted(run_dir: Path) -> None:
    world = World.make()
    verdict = go(world, run_dir)
    assert (verdict.verdict, verdict.exit_code, verdict.findings) == ("pass", 0, ())
    measured = {stage.name: stage.measured_s for stage in verdict.stages if stage.subject != "bare-pod"}
    assert measured["not_ready"] == pytest.approx(9.8, abs=0.3)
    assert measured["evicted"] == pytest.approx(20.1, abs=0.3)
    assert measured["replaced"] == pytest.approx(21.3, abs=0.3)
    assert measured["returned"] == pytest.approx(6.0, abs=0.3)
    assert measured["service_restored"] == pytest.approx(9.8, abs=0.5)
    assert all(stage.in_band for stage in verdict.stages)
    assert is_whole(world, drill_lab(world, run_dir.parent))


def test_a_slow_machine_is_waited_for(run_dir: Path) -> None:
    verdict = go(World.make(returned_s=80), run_dir)
    assert verdict.verdict == "pass"
    assert verdict.stages[-1].measured_s == pytest.approx(80, abs=0.3)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"recovered_within_s": 22}, ""),
        ({"recovered_within_s": 21}, "not recovered within 21 s: replaced after 21.3 s"),
        ({"recovered_within_s": 5}, "not recovered within 5 s: service restored after 9.8 s, replaced after 21.3 s"),
        ({"failed_at_most": 98}, ""),
        ({"failed_at_most": 97}, "98 requests of survivor failed, at most 97 may"),
    ],
)
def test_a_threshold_fails_the_run(run_dir: Path, limits: dict[str, float], text: str) -> None:
    drill = DRILL.model_copy(update=limits)
    verdict = run(drill, drill_lab(World.make(), run_dir.parent), run_dir, ignore, seed=1)
    assert [finding.text for finding in verdict.findings if finding.check == "thresholds"] == [text] * bool(text)
    assert verdict.exit_code == (1 if text else 0)


def test_what_never_recovers_is_beyond_any_threshold(run_dir: Path) -> None:
    drill = DRILL.model_copy(update={"recovered_within_s": 9999})
    verdict = run(drill, drill_lab(World.make(is_replaced=False), run_dir.parent), run_dir, ignore, seed=1)
    assert "replaced never" in next(f.text for f in verdict.findings if f.check == "thresholds")


def test_the_verdict_keeps_its_contract_with_scripts(run_dir: Path) -> None:
    written = json.loads(go(World.make(), run_dir).to_json())
    assert written["schema"] == "labctl.verdict/v1"
    assert written["drill"] == "worker-poweroff"
    assert written["verdict"] == "pass"
    assert written["run_dir"] == str(run_dir)
    assert isinstance(written["findings"], list)
    stages = {stage["name"]: stage for stage in written["stages"] if stage["subject"] != "bare-pod"}
    assert {"not_ready", "evicted", "replaced", "returned"} <= stages.keys()
    low, high = stages["not_ready"]["predicted_s"]
    assert low <= stages["not_ready"]["measured_s"] <= high
    assert stages["not_ready"]["in_band"] is True


def test_the_terminal_hears_it_live(run_dir: Path) -> None:
    heard: list[Event] = []
    go(World.make(), run_dir, heard.append)
    steps = [event.step for event in heard if isinstance(event, StepStarted)]
    assert steps == ["gate", "baseline", "inject", "observe", "heal", "recovery"]
    lines = [event.text for event in heard if isinstance(event, Progress)]
    assert any(line.startswith("lab-worker-1: NotReady after 9.8 s (predicted 9.0-11.5)") for line in lines), lines


def test_a_run_is_judged_again_from_its_files_alone(run_dir: Path) -> None:
    verdict = go(World.make(), run_dir)
    assert judge(read_run(run_dir), run_dir) == verdict


def test_the_same_seed_makes_the_same_choices(tmp_path: Path) -> None:
    plans: list[tuple[str, float]] = []
    for seed in (1, 1, 2):
        folder = tmp_path / f"{len(plans)}" / "run"
        folder.mkdir(parents=True)
        run(DRILL, drill_lab(World.make(), folder.parent), folder, ignore, seed)
        plan = Plan.model_validate_json((folder / "plan.json").read_text())
        plans.append((plan.victim, plan.delay_s))
    assert plans[0] == plans[1] != plans[2]


def test_a_deployment_that_does_not_come_back_fails(run_dir: Path) -> None:
    verdict = go(World.make(is_replaced=False), run_dir)
    assert (verdict.verdict, verdict.exit_code) == ("fail", 1)
    assert levels(verdict) == {"pods": "fail"}
    assert next(s for s in verdict.stages if s.name == "replaced").measured_s is None


def test_a_bare_pod_that_comes_back_fails(run_dir: Path) -> None:
    verdict = go(World.make(bare_comes_back=True), run_dir)
    assert verdict.verdict == "fail"
    assert levels(verdict)["pods"] == "fail"


def test_a_bare_pod_that_is_not_evicted_fails(run_dir: Path) -> None:
    verdict = go(World.make(bare_is_evicted=False), run_dir)
    assert verdict.verdict == "fail"
    assert levels(verdict)["pods"] == "fail"


def test_a_pod_that_was_restarted_elsewhere_fails(run_dir: Path) -> None:
    verdict = go(World.make(restarts_survivor=True), run_dir)
    assert levels(verdict) == {"untouched": "fail"}
    assert "kube-system/coredns-1" in verdict.findings[0].text


def test_a_slow_stage_is_flagged_and_passes(run_dir: Path) -> None:
    verdict = go(World.make(not_ready_s=14, tainted_s=14.1, evicted_s=24.2, replaced_s=25), run_dir)
    assert verdict.verdict == "pass"
    bands = [finding.text for finding in verdict.findings if finding.check == "bands"]
    assert bands[0].startswith("not ready (lab-worker-1) after 14.0 s is outside the predicted 9.0-11.5 s")
    assert "not ready (lab-worker-1) deviated before it" in bands[1]


def test_a_taint_that_missed_its_token_is_explained(run_dir: Path) -> None:
    verdict = go(World.make(tainted_s=19.9, evicted_s=30, replaced_s=31), run_dir)
    assert verdict.verdict == "pass"
    assert "known race" in verdict.findings[0].text


@pytest.mark.parametrize("knob", ["power_works"])
def test_a_machine_that_lives_on_is_not_injected(run_dir: Path, knob: str) -> None:
    world = World.make(**{knob: False})
    verdict = go(world, run_dir)
    assert (verdict.verdict, verdict.exit_code) == ("not-injected", 3)
    assert is_whole(world, drill_lab(world, run_dir.parent))


def test_a_switch_that_did_nothing_is_not_injected(run_dir: Path) -> None:
    class Stuck(FakePower):
        def power_off(self, machine: str) -> None:
            self.calls.append(("off", machine))

    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), power=Stuck(world))
    assert run(DRILL, lab, run_dir, ignore, 1).verdict == "not-injected"


def test_a_silent_beacon_alone_is_no_proof(run_dir: Path) -> None:
    class Liar(FakePower):
        def power(self, machine: str) -> Power:
            return "on"

    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), power=Liar(world))
    assert run(DRILL, lab, run_dir, ignore, 1).verdict == "not-injected"


@pytest.mark.parametrize("kind", ["nodes", "pods"])
def test_a_gap_in_a_watch_is_inconclusive(run_dir: Path, kind: str) -> None:
    verdict = go(World.make(gap_in=kind), run_dir)
    assert (verdict.verdict, verdict.exit_code) == ("inconclusive", 3)
    assert levels(verdict)["complete"] == "inconclusive"


def test_absence_with_a_gap_is_not_held_against_the_cluster(run_dir: Path) -> None:
    verdict = go(World.make(gap_in="pods", is_replaced=False), run_dir)
    assert levels(verdict)["pods"] == "inconclusive"
    assert verdict.verdict == "inconclusive"


def test_no_steady_state_no_fault(run_dir: Path) -> None:
    world = World.make()
    lab = drill_lab(world, run_dir.parent, fails_always=True)
    verdict = run(DRILL, lab, run_dir, ignore, 1)
    assert verdict.verdict == "inconclusive"
    assert isinstance(lab.power, FakePower)
    assert ("off", verdict.victim) not in lab.power.calls
    assert is_whole(world, lab)


def crash_at(world: World, seconds: float, error: BaseException) -> None:
    def crash() -> None:
        raise error

    world.clock.after(seconds, crash)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug"), LabError("the API is gone")])
@pytest.mark.parametrize("seconds", [0.5, 3, 9, 15, 25])
def test_whatever_happens_the_lab_is_healed(run_dir: Path, error: BaseException, seconds: float) -> None:
    world = World.make()
    crash_at(world, seconds, error)
    verdict = go(world, run_dir)
    assert verdict.verdict in {"inconclusive", "not-injected"}
    assert levels(verdict)["complete"] == "inconclusive"
    assert is_whole(world, drill_lab(world, run_dir.parent))


@pytest.mark.parametrize("target", ["tests.fakes.FakePower.power_on", "labctl.drill.runner.recover"])
def test_the_first_ctrl_c_in_heal_or_recovery_still_heals(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    world = World.make()
    original: Any = FakePower.power_on if target.endswith("power_on") else recover
    left = [1]

    def once(*words: Any) -> Any:  # noqa: ANN401
        if left:
            left.clear()
            raise KeyboardInterrupt
        return original(*words)

    monkeypatch.setattr(target, once)
    verdict = go(world, run_dir)
    assert not left, "the interruption happened"
    assert verdict.verdict == "inconclusive"
    assert is_whole(world, drill_lab(world, run_dir.parent))


@pytest.mark.parametrize("first_in", ["observe", "heal"])
def test_the_second_ctrl_c_leaves_and_recover_goes_on(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, first_in: str
) -> None:
    world = World.make()
    times = []

    def interrupt(*_: object) -> None:
        times.append(world.clock.now())
        raise KeyboardInterrupt

    if first_in == "observe":
        crash_at(world, 15, KeyboardInterrupt())
    with monkeypatch.context() as patch:
        patch.setattr("tests.fakes.FakePower.power_on", interrupt)
        with pytest.raises(KeyboardInterrupt):
            go(world, run_dir)
    assert len(times) == (1 if first_in == "observe" else 2)
    lab = drill_lab(world, run_dir.parent)
    world.watchers.clear()
    assert recover(lab, ignore).leftovers == ()
    assert is_whole(world, lab)


def test_a_machine_that_cannot_be_switched_on_is_not_waited_for(run_dir: Path) -> None:
    world = World.make(power_returns=False)
    start = world.clock.now()
    go(world, run_dir)
    assert world.clock.now() - start < 60


def test_a_machine_that_cannot_be_switched_on_is_a_leftover(run_dir: Path) -> None:
    world = World.make(power_returns=False)
    verdict = go(world, run_dir)
    assert verdict.verdict == "fail"
    assert any("cannot be switched on: the engine refuses" in f.text for f in verdict.findings if f.check == "recovery")
    lab = drill_lab(world, run_dir.parent)
    assert Journal(lab.journal, lab.name).open_intents()
    assert broken(lab.name, lab.journal, world.machines.values())
    world.power_returns = True
    assert recover(lab, ignore).switched_on == (verdict.victim,)
    assert is_whole(world, lab)
    assert broken(lab.name, lab.journal, world.machines.values()) == []


class Killed(BaseException):
    """Stands for SIGKILL: nothing of labctl runs after it."""


class Mortal:
    """Stands before a part of the lab, and counts. After the n-th call labctl is dead: no call gets through."""

    def __init__(self, inner: object, life: list[int]) -> None:
        self.inner = inner
        self.life = life

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever stands behind it
        self.life[0] -= 1
        if self.life[0] < 0:
            raise Killed
        return getattr(self.inner, name)


SEED_OF_WORKER_1 = 1
HELLO_LABELS = {"app.kubernetes.io/managed-by": "labctl"}


def killed_after(calls: int, folder: Path, name: str) -> tuple[World, DrillLab, list[tuple[str, int]]]:
    """Run until labctl's call number `calls`: the world, the lab, and after how many calls each phase began."""
    folder.mkdir()
    world = World.make()
    lab = drill_lab(world, folder.parent)
    world.add_pod("default", "hello-world", "lab-worker-1", labels=HELLO_LABELS)
    life = [calls]
    mortal = replace(
        lab,
        clock=Mortal(lab.clock, life),
        cluster=Mortal(lab.cluster, life),
        run_on=lambda machine, argv: Mortal(lab, life).run_on(machine, argv),
        power=MortalPower(lab.power, life),
    )
    phases = [("check", 0)]

    def emit(event: Event) -> None:
        if isinstance(event, StepStarted):
            phases.append((event.step, calls - life[0]))

    try:
        run(drills()[name], mortal, folder, emit, SEED_OF_WORKER_1)
    except Killed:
        pass
    else:
        phases.append(("done", calls - life[0]))
    return world, lab, phases


class MortalPower(Mortal):
    """The gate looks whether these are there."""

    def power_off(self, machine: str) -> None:
        self.__getattr__("power_off")(machine)

    def power_on(self, machine: str) -> None:
        self.__getattr__("power_on")(machine)

    def power(self, machine: str) -> Any:  # noqa: ANN401 - see above
        return self.__getattr__("power")(machine)


def moments(phases: list[tuple[str, int]]) -> list[int]:
    """Call numbers to die at: around every phase's begin, and spread over all. Generated, not listed by hand."""
    total = phases[-1][1]
    around = {start + offset for _, start in phases for offset in range(-4, 5)}
    return sorted(n for n in around | set(range(0, total, max(1, total // 40))) if 0 <= n < total)


@pytest.mark.parametrize(
    "name",
    [
        "worker-poweroff",
        "kubelet-stop",
        "fast-failover",
        "no-capacity",
        "flapping-node",
        "zone-poweroff",
        "drain",
        "preemption",
    ],
)
def test_after_a_sigkill_at_any_moment_recover_makes_the_lab_whole(tmp_path: Path, name: str) -> None:
    *_, begins = killed_after(10**9, tmp_path / "whole", name)
    plan = Plan.model_validate_json((tmp_path / "whole" / "plan.json").read_text())
    is_on_victim = [pod.name for pod in plan.restore] == ["hello-world"]
    assert is_on_victim or plan.victim != "lab-worker-1", "labctl's own bare pod is on the victim"
    died_in = set()
    for calls in moments(begins):
        folder = tmp_path / f"{calls}"
        folder.mkdir()
        world, lab, phases = killed_after(calls, folder / "run", name)
        phase = phases[-1][0]
        died_in.add(phase)
        if phase != "check":
            is_noticed = bool(broken(lab.name, lab.journal, world.machines.values()))
            assert is_noticed or is_whole(world, lab), f"status must notice what was left in {phase}"
        world.watchers.clear()
        world.clock.sleep(7)
        assert recover(lab, ignore).leftovers == (), phase
        assert is_whole(world, lab), phase
        assert any(p.name == "hello-world" and p.ready for p in world.pods.values()), phase
        assert recover(lab, ignore).switched_on == (), "idempotent"
    assert died_in == {phase for phase, _ in begins[:-1]}


def test_the_journal_knows_the_intent_before_the_power_is_cut(run_dir: Path) -> None:
    class Watching(FakePower):
        seen: tuple[str, ...] = ()

        def power_off(self, machine: str) -> None:
            intents = Journal(run_dir.parent / "journal.jsonl", "lab").open_intents()
            Watching.seen = tuple(f"{i.fault} {i.machine}".strip() for i in intents)
            super().power_off(machine)

    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), power=Watching(world))
    verdict = run(DRILL, lab, run_dir, ignore, 1)
    assert Watching.seen == ("workload", f"power-off {verdict.victim}")


def test_the_history_is_whole_on_disk(run_dir: Path) -> None:
    go(World.make(), run_dir)
    entries = list(history.read(run_dir / "history.jsonl"))
    kinds = {entry["kind"] for entry in entries}
    assert {"run", "phase", "fault", "heal", "watch", "beacon", "request", "snapshot"} <= kinds
    seqs = [e["seq"] for e in entries if e["kind"] == "request" and e["stream"] == "survivor"]
    assert seqs == list(range(len(seqs))), "every request is recorded"


# -- what dies with the victim and is not the drill's


def test_labctls_own_bare_pod_is_put_back(run_dir: Path) -> None:
    world = World.make()
    for worker in ("lab-worker-1", "lab-worker-2"):
        world.add_pod("default", f"stranger-{worker}", worker)
    lab = drill_lab(world, run_dir.parent)
    victim = run(DRILL, replace(lab, journal=run_dir.parent / "j0"), run_dir, ignore, 1).victim
    mine = world.add_pod("default", "hello-world", victim, labels={"app.kubernetes.io/managed-by": "labctl"})
    second = run_dir.parent / "second"
    second.mkdir()
    verdict = run(DRILL, lab, second, ignore, 1)
    assert verdict.victim == victim
    back = next(p for p in world.pods.values() if p.name == "hello-world")
    assert back.uid != mine.uid
    assert verdict.verdict == "pass"


def test_a_users_bare_pod_is_lost_and_named(run_dir: Path) -> None:
    world = World.make()
    for worker in ("lab-worker-1", "lab-worker-2"):
        world.add_pod("default", f"precious-{worker}", worker)
    verdict = go(world, run_dir)
    assert verdict.verdict == "pass"
    assert f"default/precious-{verdict.victim}" in next(f.text for f in verdict.findings if f.check == "strangers")
    assert not any(p.name == f"precious-{verdict.victim}" for p in world.pods.values())


# -- the gate


def test_the_gate_moves_replicas_apart(run_dir: Path) -> None:
    class OnceLumped(FakeCluster):
        def delete(self, documents: Sequence[Document]) -> None:
            self.lump = False
            super().delete(documents)

    world = World.make()
    cluster = OnceLumped(world)
    cluster.lump = True
    lab = replace(drill_lab(world, run_dir.parent), cluster=cluster)
    assert run(DRILL, lab, run_dir, ignore, 1).verdict == "pass"


def test_replicas_that_stay_together_are_a_clear_refusal(run_dir: Path) -> None:
    world = World.make()
    cluster = FakeCluster(world)
    cluster.lump = True
    lab = replace(drill_lab(world, run_dir.parent), cluster=cluster)
    with pytest.raises(InconclusiveError, match="keep being scheduled onto lab-worker-1"):
        run(DRILL, lab, run_dir, ignore, 1)
    assert is_whole(world, lab)


def test_one_worker_is_not_enough(run_dir: Path) -> None:
    world = World.make(workers=1)
    with pytest.raises(UsageError, match="needs at least 2 workers, and there are 1"):
        go(world, run_dir)
    assert not (run_dir.parent / "journal.jsonl").exists(), "nothing was changed"


def test_a_lab_that_is_not_what_it_should_be_is_a_refusal(run_dir: Path) -> None:
    world = World.make()
    world.failing_checks = ["NODE-001 containerd runs (lab-worker-1): inactive; expected active"]
    with pytest.raises(InconclusiveError, match="NODE-001 containerd runs"):
        go(world, run_dir)
    assert not (run_dir.parent / "journal.jsonl").exists(), "nothing was changed"


def test_a_machine_that_is_off_is_a_refusal(run_dir: Path) -> None:
    world = World.make()
    FakePower(world).power_off("lab-worker-2")
    with pytest.raises(InconclusiveError, match="lab-worker-2 of lab lab is not on"):
        go(world, run_dir)


def test_a_node_that_is_not_ready_is_a_refusal(run_dir: Path) -> None:
    world = World.make(workers=3)
    world.change_node("lab-worker-2", ready=False)
    with pytest.raises(InconclusiveError, match="lab-worker-2 is not Ready"):
        go(world, run_dir)


def test_an_open_intent_is_a_refusal(run_dir: Path) -> None:
    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), name="two")
    Journal(lab.journal, lab.name).intend("worker-poweroff", "power-off", machine="lab-worker-1")
    with pytest.raises(StateError) as caught:
        run(DRILL, lab, run_dir, ignore, 1)
    assert caught.value.hint == "labctl recover --lab two"


def test_somebody_elses_namespace_is_left_alone(run_dir: Path) -> None:
    world = World.make()
    world.objects["Namespace", "", "labctl-drill"] = {"metadata": {"name": "labctl-drill"}}
    with pytest.raises(InconclusiveError, match="is not labctl's"):
        go(world, run_dir)
    recover(drill_lab(world, run_dir.parent), ignore)
    assert ("Namespace", "", "labctl-drill") in world.objects


def test_a_provider_without_a_switch_is_a_clear_refusal(run_dir: Path) -> None:
    class Switchless:
        def machines(self) -> list[Any]:
            return list(world.machines.values())

    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), power=Switchless())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="CanPowerOff"):
        run(DRILL, lab, run_dir, ignore, 1)


def test_a_controller_manager_that_cannot_be_read_is_a_refusal(run_dir: Path) -> None:
    world = World.make()
    lab = replace(drill_lab(world, run_dir.parent), run_on=lambda _m, _a: "sshd\t\n")
    with pytest.raises(InconclusiveError, match="nothing can be predicted"):
        run(DRILL, lab, run_dir, ignore, 1)
    assert is_whole(world, lab)


def test_an_observer_that_does_not_start_is_inconclusive(run_dir: Path) -> None:
    class Broken(FakeObserver):
        def start(self, history: history.History) -> None:
            raise LabError("no watch")

    world = World.make()

    def observers(plan: Plan) -> list[Observer]:
        return [Broken(world, plan)]

    lab = replace(drill_lab(world, run_dir.parent), observers=observers)
    assert run(DRILL, lab, run_dir, ignore, 1).verdict == "inconclusive"
    assert is_whole(world, lab)


def test_after_the_heal_pods_are_listed_as_soon_as_the_api_can(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes may come from a cache of the API server's while etcd, and with it the list of pods, is still away."""
    world, listed, again = World.make(), FakeCluster.pods, 40.0

    def pods(self: FakeCluster, namespace: str = "", label: str = "") -> list[Pod]:
        if world.clock.now() < healed + again:
            raise LabError("etcdserver: request timed out")
        return listed(self, namespace, label)

    healed = float("-inf")
    real = FakePower.power_on

    def power_on(self: FakePower, machine: str) -> None:
        nonlocal healed
        healed = max(healed, 0.0) or world.clock.now()
        real(self, machine)

    monkeypatch.setattr(FakeCluster, "pods", pods)
    monkeypatch.setattr(FakePower, "power_on", power_on)
    verdict = go(world, run_dir)
    assert healed > 0
    assert verdict.verdict == "pass", verdict.findings
