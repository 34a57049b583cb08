"""What labctl says to type next works as it stands: it names the lab."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import remote, state
from labctl.cli import main
from labctl.config import LabConfig
from labctl.errors import UsageError, command_for
from labctl.providers.container import ContainerProvider

PACKAGE = Path(__file__).parents[2] / "labctl"
OF_A_LAB = re.compile(
    r"labctl (up|down|start|stop|status|verify|drill|recover|logs|ssh|kubectl|kubeconfig|image)\b(?! --list)"
)
OF_NO_LAB = {
    "fewer --workers; or labctl down another lab",
    "not cached; labctl up downloads it, or builds it from source",
    "labs stay off until labctl start (",
    "\nThis machine can run a lab: labctl up",
    "check(info): a check of labctl verify",
    "labctl verify",
    "labctl verify ",
    # A check's remedy: verify puts the lab's name in.
    (
        ": labctl kubectl -- get validatingwebhookconfigurations,mutatingwebhookconfigurations,"
        "validatingadmissionpolicies lists what may refuse them"
    ),
    "labctl status: is the machine on? labctl verify --only ",
    "labctl logs",  # of whatever verify was asked to look at: it need not be a lab
}
"""Said where no lab is meant, or any."""


def sentences(file: Path) -> Iterator[str]:
    """The texts in `file`, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sentence_names_a_command_without_its_lab(file: Path) -> None:
    """Whatever it is, `command_for` says it."""
    assert [text for text in sentences(file) if OF_A_LAB.search(text) and text not in OF_NO_LAB] == []


def test_a_command_names_its_lab_unless_it_is_the_default_one() -> None:
    assert command_for("lab", "status") == "labctl status"
    assert command_for("two", "status") == "labctl status --lab two"
    assert command_for("two", "kubectl", "-- get pods") == "labctl kubectl --lab two -- get pods"


@pytest.mark.parametrize("words", [["status", "--lab", "two"], ["status", "--lab=two"]])
def test_what_is_said_at_the_end_names_the_lab_too(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    assert main.run(words) == 2
    assert "labctl up --lab two makes it" in capsys.readouterr().err


def test_a_machine_that_is_not_there_points_to_the_status_of_its_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    state.save(state.LabRecord(created=state.now(), config=LabConfig(name="two", provider="podman"), bundle="/b"))
    monkeypatch.setattr(ContainerProvider, "machines", lambda _self: [])
    with pytest.raises(UsageError) as caught:
        remote.machine("two", "worker-1")
    assert caught.value.hint == "labctl status --lab two"
