"""Drills as files: the shipped ones, and what a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from labctl.drill import catalog
from labctl.drill.catalog import drills
from labctl.drill.declare import Drill, load, schema
from labctl.drill.registry import fault
from labctl.errors import UsageError

FOLDER = Path(catalog.__file__).parent / "catalogue"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=lambda path: path.stem)
def test_a_shipped_drill_is_a_file_that_its_schema_allows(path: Path) -> None:
    drill = load(path)
    assert drill.name == path.stem
    Draft202012Validator(schema()).validate(yaml.safe_load(path.read_text()))
    for step in (*drill.setup, *drill.steps):
        assert fault(step.fault).doing
    assert drill.steps or drill.name == "control"
    takes_control_plane = any(target.role == "control-plane" for target in drill.targets.values())
    assert drill.consent == takes_control_plane


def test_the_short_suite_is_short_and_all_is_all() -> None:
    assert 2 <= len(catalog.suite(catalog.SHORT)) <= 5
    assert [drill.name for drill in catalog.suite("all")] == list(drills())
    assert {drill.group for drill in catalog.suite("network")} == {"network"}
    with pytest.raises(UsageError, match="there is no suite sauna"):
        catalog.suite("sauna")


def test_a_drill_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("name: mine\ntext: My own\nsteps: [{fault: power-off}]\nhold_s: 30\n")
    assert catalog.find(str(file)).hold_s == 30
    with pytest.raises(UsageError, match="there is no drill mine"):
        catalog.find("mine")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [", "is no YAML"),
        ("- 1", "declares no drill"),
        ("name: X Y\ntext: t\n", "name: String should match"),
        ("name: x\ntext: t\nstep: []\n", "step: Extra inputs"),
        ("name: x\ntext: t\nsteps: [{fault: f, target: nobody}]\n", "f is for nobody, which is none of the targets"),
        ("name: x\ntext: t\nsteps: [{fault: f, after_s: 3}]\n", "the first one is the fault, at once"),
        ("name: x\ntext: t\nmain_stream: other\n", "there is no stream other"),
        ("name: x\ntext: t\nparts: [deployment]\nexpect: {pods: {job: again}}\n", "job is none of the parts"),
        ("name: x\ntext: t\nparts: [bare-pod]\n", "the deployment is what the streams ask"),
        ("name: x\ntext: t\nsetup: [{fault: f, when: proof}]\n", "all of it comes before the fault"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "nothing.yml")


def test_an_unknown_fault_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"there is no fault flood; there are .*power-off"):
        fault("flood")


def test_a_drill_can_be_read_again() -> None:
    for drill in drills().values():
        assert Drill.model_validate_json(drill.model_dump_json()) == drill


def test_the_documented_schema_is_the_models() -> None:
    documented = json.loads((Path(__file__).parents[3] / "docs" / "schemas" / "drill.json").read_text())
    assert documented == schema(), "write docs/schemas/drill.json anew from labctl.drill.declare.schema()"
