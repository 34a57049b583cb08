"""What can be a cluster's inventory and what cannot; Ansible reads it for real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labctl import paths, process
from labctl.errors import StateError, UsageError
from labctl.verify.target import Target

NESTED = """
all:
  children:
    control_planes: {children: {north: {hosts: {one: {node_address: 192.0.2.1}}}}}
    workers: {hosts: {two: {node_address: 192.0.2.2}}}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return tmp_path / "hosts.yml"


def test_groups_may_be_nested(inventory: Path) -> None:
    inventory.write_text(NESTED)
    assert Target.by_hand(inventory).inventory == inventory


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no machine is in its group control_planes"),
        ("all: {hosts: {one: {}}}", "no machine is in its group control_planes"),
        ("\x00\x7fELF", "Ansible cannot read it but as a list of names, of which "),
        ("127.0.0.1 localhost\n", "Ansible cannot read it: YAML inventory has invalid structure"),
        ("{{{", "Ansible cannot read it but as a list of names, of which '{{{' is none"),
        (NESTED.replace("control_planes", "masters"), "no machine is in its group control_planes"),
        (NESTED.replace("192.0.2.2", ""), "these have no node_address: two"),
        (NESTED.replace("children: {north", "{children: {north"), "Ansible cannot read it: YAML parsing failed"),
    ],
)
def test_what_is_no_inventory_of_a_cluster_is_refused(inventory: Path, text: str, said: str) -> None:
    inventory.write_text(text)
    with pytest.raises(UsageError, match=re.escape(f"--inventory {inventory}: {said}")):
        Target.by_hand(inventory)


def test_what_is_neither_yaml_nor_a_list_of_names(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_bytes(b"one two\n\xff\xfe\n")
    with pytest.raises(UsageError, match=r"cannot read it: .*Expected key=value host variable assignment, got: two"):
        Target.by_hand(file)


def test_an_inventory_that_is_not_there(inventory: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        Target.by_hand(inventory)


def test_what_ansible_does_not_finish_reading(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, timeout_s: float, **__: object) -> None:
        raise process.TimeoutExpired("ansible-inventory", timeout_s)

    inventory.write_text(NESTED)
    monkeypatch.setattr(process, "run", slow)
    with pytest.raises(UsageError, match="did not read it within 20 s"):
        Target.by_hand(inventory)


def plain_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", str(folder), *words]
    return subprocess.run(argv, cwd=paths.checks()[0].parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", paths.checks(), ids=lambda folder: folder.name)
@pytest.mark.parametrize(
    ("text", "reason"), [("{garbage", "Ansible cannot read it"), (None, "no such file"), ("", "control_planes")]
)
def test_plain_pytest_refuses_what_is_no_inventory(
    tmp_path: Path, folder: Path, text: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)  # without the folder of ansible-inventory
    file = tmp_path / "inventory.yml"
    if text is not None:
        file.write_text(text)
    done = plain_pytest(folder, "--hosts=ansible://all", f"--ansible-inventory={file}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert reason in done.stderr
    assert "inventories/README.md" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--hosts=ansible://all", "checks need the machines of an inventory: --hosts='ansible://all' --ansible-inv"),
        ("--hosts=ansible://nohost --ansible-inventory={0}", "the inventory {0} has no machine or group nohost"),
        ("--hosts=ansible://one,ansible://nohost --ansible-inventory={0}", "has no machine or group nohost"),
        ("--hosts=one --ansible-inventory={0}", "--hosts=one does not say a machine of the inventory"),
        ("--ansible-inventory={0}", "--hosts= does not say a machine of the inventory"),
        ("--hosts=ansible://one --ansible-inventory={0} --labctl-only=FOO", "no check here is numbered 'FOO'"),
        ("--hosts=ansible://one --ansible-inventory={0} --labctl-skip=FOO=bar", "no check here is numbered 'FOO'"),
    ],
)
def test_plain_pytest_says_in_a_sentence_what_is_wrong(inventory: Path, words: str, said: str) -> None:
    inventory.write_text(NESTED)
    done = plain_pytest(paths.checks()[0], *words.format(inventory).split())
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout[-1000:]
    assert said.format(inventory) in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_plain_pytest_lists_the_checks_and_its_options_without_machines() -> None:
    for word in ("--collect-only", "--help"):
        assert plain_pytest(paths.checks()[0], word).returncode == pytest.ExitCode.OK


@pytest.mark.parametrize("users", ["C", "de_DE.ISO-8859-1"])
def test_plain_pytest_works_in_any_locale(inventory: Path, monkeypatch: pytest.MonkeyPatch, users: str) -> None:
    monkeypatch.setenv("LC_ALL", users)
    inventory.write_text(NESTED)
    done = plain_pytest(
        paths.checks()[0], "--hosts=ansible://all", f"--ansible-inventory={inventory}", "--collect-only"
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-1000:] + done.stderr[-1000:]


@pytest.mark.parametrize("text", ["", ": : [", "[]", "\udcff"])
def test_a_labs_inventory_that_is_none_any_more_is_written_again_by_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    paths.LabPaths("lab").inventory.parent.mkdir(parents=True)
    paths.LabPaths("lab").inventory.write_text(text, errors="surrogateescape")
    monkeypatch.setattr("labctl.state.get", lambda _: None)
    with pytest.raises(StateError, match="is no inventory any more") as caught:
        Target.lab("lab")
    assert caught.value.hint.startswith("labctl up")
