"""A fault inside a machine: proven there, undone there, by labctl or without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.drill import DrillLab, Verdict, drills, recover, run
from labctl.drill.journal import Journal
from labctl.events import Event
from tests.fakes import World, drill_lab

DRILL = drills()["kubelet-stop"]


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def go(world: World, run_dir: Path) -> Verdict:
    return run(DRILL, drill_lab(world, run_dir.parent), run_dir, ignore, seed=1)


def test_its_pods_serve_on_and_are_replaced(run_dir: Path) -> None:
    world = World.make()
    verdict = go(world, run_dir)
    assert (verdict.verdict, verdict.findings) == ("pass", ())
    stages = {stage.name: stage for stage in verdict.stages if stage.subject != "bare-pod"}
    assert stages["service_restored"].measured_s == 0
    assert "serve on" in stages["service_restored"].note
    assert stages["replaced"].measured_s == pytest.approx(21.3, abs=0.3)
    assert all(not stream.failed for stream in verdict.requests)
    assert (world.stopped, world.timers) == (set(), {})
    assert all(machine.power == "on" for machine in world.machines.values())


def test_a_kubelet_that_runs_on_is_no_fault(run_dir: Path) -> None:
    world = World.make(stop_works=False)
    verdict = go(world, run_dir)
    assert verdict.verdict == "not-injected"
    assert f"no proof that {verdict.victim} lost its kubelet" in {finding.text for finding in verdict.findings}
    assert world.timers == {}


def kill(world: World, lab: DrillLab, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A labctl that dies while the fault lasts; returns the victim."""

    class KillError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KillError

    with monkeypatch.context() as patched:
        patched.setattr("labctl.drill.runner._Run.observe", die)
        patched.setattr("labctl.drill.runner._Run._undo", die)
        with pytest.raises(KillError):
            run(DRILL, lab, run_dir, ignore, seed=1)
    (victim,) = world.stopped
    return victim


def test_the_machine_undoes_it_by_itself(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make()
    lab = drill_lab(world, run_dir.parent)
    victim = kill(world, lab, run_dir, monkeypatch)
    world.clock.sleep(world.timers[victim] - world.clock.now() - 1)
    assert world.stopped == {victim}, "not before labctl would have"
    world.clock.sleep(1 + world.returned_s)
    assert world.kubelets[victim]
    assert recover(lab, ignore).undone == ()


def test_recover_starts_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.make()
    lab = drill_lab(world, run_dir.parent)
    victim = kill(world, lab, run_dir, monkeypatch)
    done = recover(lab, ignore)
    assert (done.undone, done.leftovers) == ((f"kubelet-stop on {victim}",), ())
    assert world.timers == {}
    assert Journal(lab.journal, lab.name).open_intents() == []
    assert recover(lab, ignore).undone == ()


def test_recover_looks_at_the_machines_and_not_only_at_the_journal(tmp_path: Path) -> None:
    world = World.make()
    world.stop_kubelet("lab-worker-2")
    done = recover(drill_lab(world, tmp_path), ignore)
    assert (done.undone, done.leftovers) == (("kubelet-stop on lab-worker-2",), ())


def test_the_timer_comes_after_all_that_labctl_would_wait_for(run_dir: Path) -> None:
    world = World.make(is_replaced=False)  # observes until the very end
    assert go(world, run_dir).verdict == "fail"
    assert world.timers == {}, "labctl was first"
