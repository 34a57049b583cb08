"""Nothing is done to machines of somebody else's without their word."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import consent, paths, state, teardown
from labctl.cli import main
from labctl.config import LabConfig
from labctl.errors import UsageError

HOSTS = "provider: hosts\nhosts: {one: {role: control-plane, address: 192.0.2.11}}\n"


@pytest.fixture(autouse=True)
def _a_lab_of_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    hosts = {"one": {"role": "control-plane", "address": "192.0.2.11"}}
    config = LabConfig.model_validate({"provider": "hosts", "hosts": hosts})
    state.save(state.LabRecord(created=state.now(), config=config, bundle="/b"))


@pytest.mark.parametrize(
    ("words", "key"),
    [(["drill", "kubelet-stop"], "drills"), (["down"], "reset"), (["drill", "worker-poweroff"], "drills")],
)
def test_without_consent_nothing_is_begun(
    words: list[str], key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "reset_hosts", pytest.fail)
    monkeypatch.setattr("labctl.drills.lab_of", pytest.fail)
    assert main.run(words) == 2
    said = capsys.readouterr().err
    assert "labctl did not make them" in said
    assert f"consent: {{{key}: true}} in labctl.yml" in said
    assert paths.LabPaths("lab").record.exists()
    assert not paths.runs().exists(), "no run was begun"


def test_consent_is_read_from_labctl_yml_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "labctl.yml").write_text(HOSTS + "consent: {drills: true}\n")
    consent.require("lab", "drills")
    with pytest.raises(Exception, match="labctl did not make them"):
        consent.require("lab", "reset")
    (tmp_path / "labctl.yml").write_text("name: another\n" + HOSTS + "consent: {reset: true}\n")
    with pytest.raises(Exception, match="labctl did not make them"):
        consent.require("lab", "reset")


def test_consent_that_a_broken_labctl_yml_may_have_withdrawn_is_none(tmp_path: Path) -> None:
    hosts = {"one": {"role": "control-plane", "address": "192.0.2.11"}}
    given = LabConfig.model_validate({"provider": "hosts", "hosts": hosts, "consent": {"drills": True}})
    state.save(state.LabRecord(created=state.now(), config=given, bundle="/b"))
    consent.require("lab", "drills")
    (tmp_path / "labctl.yml").write_text(HOSTS + "consent: {drills: flase}\n")
    with pytest.raises(UsageError, match="consent"):
        consent.require("lab", "drills")


def test_containers_are_labctls_own() -> None:
    state.save(state.LabRecord(created=state.now(), config=LabConfig(provider="podman"), bundle="/b"))
    consent.require("lab", "drills")
    consent.require("nowhere", "reset")


def test_a_lab_may_be_forgotten_without_touching_its_machines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "reset_hosts", pytest.fail)
    assert main.run(["down", "--keep-machines"]) == 0
    assert "The lab lab is gone" in capsys.readouterr().out
    assert not paths.LabPaths("lab").folder.exists()


def test_with_consent_the_machines_are_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labctl.yml").write_text(HOSTS + "consent: {reset: true}\n")
    played: list[str] = []
    paths.LabPaths("lab").inventory.write_text("all: {}")
    monkeypatch.setattr("labctl.teardown.ansible.play", lambda playbook, *_args, **_more: played.append(playbook))
    assert main.run(["down"]) == 0
    assert played == ["reset.yml"]
    assert "1 machines are as they were before" in capsys.readouterr().out


def test_the_inventory_in_use_and_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["inventory"]) == 8
    assert "has no inventory yet" in capsys.readouterr().err
    file = paths.LabPaths("lab").inventory
    file.write_text("all: {}\n")
    assert main.run(["inventory"]) == 0
    assert capsys.readouterr().out == "all: {}\n"
    assert main.run(["inventory", "--path"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
