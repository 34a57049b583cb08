"""A machine returns empty, and the descheduler changes that: in a fake world, and by what is asked of the API."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from labctl.drill import Verdict, drills, recover, run
from labctl.drill.declare import NAMESPACE, Drill
from labctl.drill.descheduler import NAME
from labctl.drill.faults import Hit
from labctl.drill.judge import read_run
from labctl.drill.registry import fault
from labctl.errors import UsageError
from labctl.events import Event
from labctl.report.chart import chart
from tests.fakes import World, drill_lab

CLUSTERWIDE = {("ClusterRole", "", NAME), ("ClusterRoleBinding", "", NAME)}


def ignore(_: Event) -> None:
    pass


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def go(world: World, run_dir: Path) -> Verdict:
    return run(drills()["rebalance"], drill_lab(world, run_dir.parent), run_dir, ignore, seed=1)


def said(verdict: Verdict, level: str) -> list[str]:
    return [finding.text for finding in verdict.findings if (finding.check, finding.level) == ("rebalances", level)]


def test_a_machine_that_returned_is_empty_until_the_descheduler_ran(run_dir: Path) -> None:
    world = World.make()
    verdict = go(world, run_dir)
    assert (verdict.verdict, [f.level for f in verdict.findings]) == ("pass", ["info"])
    assert {"4 -> 3" in text and "0 -> 1" in text for text in said(verdict, "info")} == {True}
    stage = next(stage for stage in verdict.stages if stage.name == "rebalanced")
    assert stage.in_band
    assert not CLUSTERWIDE & world.objects.keys()


def test_the_report_draws_the_return_when_it_was(run_dir: Path) -> None:
    verdict = go(World.make(), run_dir)
    drawn = chart(verdict, read_run(run_dir))
    assert drawn
    returned, descheduler = (
        drawn.rows[row] for row in (("node Ready again", verdict.victim), ("descheduler", verdict.victim))
    )
    again = drawn.rows["used again, after the descheduler", "deployment"]
    assert returned.boxes[-1].left < descheduler.boxes[0].left < again.boxes[-1].left


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"rebalances": False}, "no pod of the Deployment is Ready on a machine that returned"),
        ({"moves_back": True}, "before the descheduler ran; nothing in Kubernetes does that"),
    ],
)
def test_a_machine_that_is_used_too_early_or_never_fails(run_dir: Path, knobs: dict[str, bool], text: str) -> None:
    world = World.make(**knobs)
    verdict = go(world, run_dir)
    assert verdict.verdict == "fail"
    assert any(text in found for found in said(verdict, "fail"))
    assert not CLUSTERWIDE & world.objects.keys()


def test_it_may_evict_in_the_drills_namespace_alone(tmp_path: Path) -> None:
    world = World.make()
    fault("descheduler").inject(drill_lab(world, tmp_path), Hit("lab-worker-1"))
    everywhere = world.objects["ClusterRole", "", NAME]["rules"]
    assert {verb for rule in everywhere for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert "pods/eviction" in world.objects["Role", NAMESPACE, NAME]["rules"][0]["resources"]
    policy = yaml.safe_load(world.objects["ConfigMap", NAMESPACE, NAME]["data"]["policy.yaml"])
    named = {config["name"]: config["args"] for config in policy["profiles"][0]["pluginConfig"]}
    assert named["RemoveDuplicates"] == {"namespaces": {"include": [NAMESPACE]}}


def test_a_lab_without_the_image_is_told_so(run_dir: Path) -> None:
    world = World.make()
    del world.machines["lab-cp-1"]
    with pytest.raises(UsageError, match="it is not in this lab's bundle"):
        go(world, run_dir)


def test_recover_removes_a_drills_rights_and_nobody_elses(tmp_path: Path) -> None:
    world = World.make()
    lab = drill_lab(world, tmp_path)
    fault("descheduler").inject(lab, Hit("lab-worker-1"))
    world.objects["ClusterRole", "", NAME]["metadata"]["labels"] = {}
    assert recover(lab, ignore).undone == (f"the ClusterRoleBinding {NAME}",)
    assert CLUSTERWIDE & world.objects.keys() == {("ClusterRole", "", NAME)}


def test_what_is_expected_of_the_descheduler_needs_it() -> None:
    drill = drills()["rebalance"].model_dump(by_alias=True)
    drill["steps"] = [{"fault": "power-off"}]
    with pytest.raises(ValidationError, match=r"expect\.rebalances: none of the steps is descheduler"):
        Drill.model_validate(drill)
