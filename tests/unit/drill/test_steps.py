"""Drills of several victims and several steps, in a fake world: set up, carried out when due, undone in reverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labctl.drill import Verdict, drills, recover, run
from labctl.drill.api_faults import MARK, OUT_OF_SERVICE, ZONE
from labctl.drill.declare import Drill
from labctl.drill.gate import seen_as
from labctl.drill.journal import Journal
from labctl.errors import UsageError
from labctl.events import Event
from tests.fakes import FakePower, World, drill_lab


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def go(name: str | Drill, world: World, run_dir: Path) -> Verdict:
    chosen = drills()[name] if isinstance(name, str) else name
    return run(chosen, drill_lab(world, run_dir.parent), run_dir, ignore, seed=1)


def steps(run_dir: Path) -> list[tuple[str, str, float]]:
    lines = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    return [(line["fault"], line["step"], line["t"]) for line in lines if line["kind"] == "fault"]


def is_clean(world: World, run_dir: Path) -> bool:
    nodes = world.nodes.values()
    marks = any(MARK in node.labels or ZONE in node.labels or node.unschedulable for node in nodes)
    taints = any(taint.key == OUT_OF_SERVICE for node in nodes for taint in node.taints)
    return not marks and not taints and not Journal(run_dir.parent / "journal.jsonl", "lab").open_intents()


def measured(verdict: Verdict, name: str, subject: str) -> float | None:
    return next(s.measured_s for s in verdict.stages if (s.name, s.subject) == (name, subject))


def test_a_control_run_does_nothing_and_passes_only_if_nothing_happens(run_dir: Path) -> None:
    world = World.make()
    verdict = go("control", world, run_dir)
    assert (verdict.verdict, verdict.findings) == ("pass", ())
    lab = drill_lab(world, run_dir.parent)
    assert isinstance(lab.power, FakePower)
    assert lab.power.calls == []
    other = run_dir.parent / "other"
    other.mkdir()
    world = World.make()
    world.clock.after(14, lambda: world.change_node("lab-worker-1", ready=None))
    world.clock.after(14, lambda: world.change_node("lab-worker-2", ready=None))
    world.clock.after(16, lambda: world.change_node("lab-worker-1", ready=True))
    world.clock.after(16, lambda: world.change_node("lab-worker-2", ready=True))
    assert go("control", world, other).verdict == "fail", "a false alarm is what a control run looks for"


def test_a_fence_brings_the_statefulset_back_too(run_dir: Path) -> None:
    world = World.make()
    verdict = go("fast-failover", world, run_dir)
    assert (verdict.verdict, [f.text for f in verdict.findings if f.level != "flag"]) == ("pass", [])
    deployment, stateful = (measured(verdict, "replaced", part) for part in ("deployment", "statefulset"))
    assert deployment is not None
    assert stateful is not None
    assert deployment < 9 < stateful < 20
    assert [(fault, step) for fault, step, _ in steps(run_dir)] == [
        ("power-off", "call"),
        ("power-off", "done"),
        ("power-off", "proof"),
        ("out-of-service", "call"),
        ("out-of-service", "done"),
        ("out-of-service", "proof"),
    ]
    assert is_clean(world, run_dir)


def test_a_machine_that_is_not_off_for_sure_is_not_fenced(run_dir: Path) -> None:
    world = World.make(power_works=False)
    verdict = go("fast-failover", world, run_dir)
    assert verdict.verdict == "not-injected"
    assert not any(fault == "out-of-service" for fault, _, _ in steps(run_dir))


def test_a_flapping_node_is_switched_off_and_on_in_time(run_dir: Path) -> None:
    world = World.make(returned_s=1)
    go("flapping-node", world, run_dir)
    made = [(step, round(t - steps(run_dir)[0][2])) for _, step, t in steps(run_dir) if step in ("call", "undone")]
    assert made == [("call", 0), ("undone", 4), ("call", 10), ("undone", 14), ("call", 20), ("undone", 24)]
    assert is_clean(world, run_dir)


def test_a_control_plane_that_is_off_is_waited_for_and_nothing_is_predicted_of_its_node(run_dir: Path) -> None:
    world = World.make()
    verdict = go("control-plane-poweroff", world, run_dir)
    assert (verdict.verdict, [f.text for f in verdict.findings]) == ("pass", [])
    assert not {"not_ready", "tainted", "returned"} & {stage.name for stage in verdict.stages}
    assert is_clean(world, run_dir)


def test_what_is_expected_of_a_node_changes_no_prediction() -> None:
    drill = drills()["worker-poweroff"]
    lax = drill.model_copy(update={"expect": drill.expect.model_copy(update={"node": "any"})})
    assert seen_as(lax) == seen_as(drill) == ("unreachable", False)
    assert seen_as(drills()["flapping-node"])[0] == "any", "it is back before anybody can tell"
    assert seen_as(drills()["control-plane-poweroff"]) == ("any", True)


def test_a_machine_whose_setup_is_undone_is_no_victim(run_dir: Path) -> None:
    verdict = go("capacity-returns", World.make(), run_dir)
    assert len(verdict.victim.split()) == 1
    assert {stage.subject for stage in verdict.stages if stage.name == "not_ready"} == {verdict.victim}


def test_the_setup_is_made_before_and_undone_after(run_dir: Path) -> None:
    world = World.make()
    cordoned: list[str] = []
    real = world.change_node

    def watching(name: str, **changes: Any) -> None:  # noqa: ANN401
        if changes.get("unschedulable"):
            cordoned.append(name)
        real(name, **changes)

    world.change_node = watching  # type: ignore[method-assign]
    verdict = go("no-capacity", world, run_dir)
    assert (verdict.verdict, verdict.findings) == ("pass", ())
    assert len(cordoned) == 1
    assert cordoned[0] not in verdict.victim
    assert measured(verdict, "replaced", "deployment") is None
    assert is_clean(world, run_dir)


def test_a_replacement_that_finds_room_though_there_should_be_none_fails(run_dir: Path) -> None:
    drill = drills()["no-capacity"].model_copy(update={"setup": ()})
    verdict = go(drill, World.make(), run_dir)
    assert verdict.verdict == "fail"


def test_two_victims_have_stages_of_their_own(run_dir: Path) -> None:
    world = World.make(workers=3)
    verdict = go("two-workers-poweroff", world, run_dir)
    names = verdict.victim.split(", ")
    assert len(names) == 2
    assert all(measured(verdict, "not_ready", name) == pytest.approx(9.8, abs=0.3) for name in names)
    first, second = ([s for s in verdict.stages if s.name == "tainted"][k].predicted_s for k in (0, 1))
    assert first is not None
    assert second is not None
    assert second[0] - first[0] == pytest.approx(10)
    assert is_clean(world, run_dir)


def test_a_later_step_that_never_comes_is_no_pass(run_dir: Path) -> None:
    world = World.make(not_ready_s=9999, tainted_s=9999, evicted_s=9999, is_replaced=False)
    verdict = go("node-deleted", world, run_dir)
    assert any("node-delete) never came" in finding.text for finding in verdict.findings)
    assert verdict.verdict == "fail"


@pytest.mark.parametrize(
    ("name", "workers", "sentence"),
    [
        ("two-workers-poweroff", 2, "it needs at least 3 workers, and there are 2"),
        ("all-workers-poweroff", 3, "it needs exactly 2 workers, and there are 3"),
        ("only-worker-poweroff", 2, "it needs exactly 1 worker, and there are 2"),
    ],
)
def test_what_a_lab_is_too_small_or_too_large_for_is_said(
    run_dir: Path, name: str, workers: int, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        go(name, World.make(workers=workers), run_dir)
    assert not (run_dir.parent / "journal.jsonl").exists(), "nothing was changed"


def test_recover_takes_away_what_a_killed_labctl_left_on_nodes(tmp_path: Path) -> None:
    world = World.make()
    lab = drill_lab(world, tmp_path)
    world.change_node("lab-worker-1", unschedulable=True, labels={MARK: "true", ZONE: "z", f"{MARK}-zone": "true"})
    world.change_node("lab-worker-2", unschedulable=True, labels={ZONE: "mine"})
    done = recover(lab, ignore)
    assert set(done.undone) == {"cordon on lab-worker-1", "zone on lab-worker-1"}
    assert not world.nodes["lab-worker-1"].unschedulable
    assert world.nodes["lab-worker-2"].unschedulable, "somebody else's cordon stays"
    assert world.nodes["lab-worker-2"].labels == {ZONE: "mine"}


def test_a_step_may_wait_for_the_return_of_what_was_undone_before(run_dir: Path) -> None:
    declared = drills()["worker-poweroff"].model_dump(by_alias=True)
    declared["steps"] = [
        {"fault": "power-off"},
        {"fault": "power-off", "undo": True, "when": "replaced", "after_s": 1},
        {"fault": "cordon", "when": "returned", "after_s": 2},
    ]
    world = World.make()
    verdict = go(Drill.model_validate(declared), world, run_dir)
    made = [(fault, step, round(t - steps(run_dir)[0][2], 1)) for fault, step, t in steps(run_dir)]
    asked = next(t for fault, step, t in made if (fault, step) == ("power-off", "undo"))
    cordoned = next(t for fault, step, t in made if (fault, step) == ("cordon", "call"))
    assert cordoned - asked == pytest.approx(world.returned_s + 2, abs=0.3)
    returned = measured(verdict, "returned", verdict.victim)
    assert returned == pytest.approx(world.returned_s, abs=0.3), "from its undo, not from the heal at the end"
    assert is_clean(world, run_dir)
