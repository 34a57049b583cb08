"""A session that stays open, with an `ssh` that leads to this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra

from labctl.verify.cluster import Cluster, Look
from labctl.verify.shell import Shell, heard

SSH = """#!/bin/sh
echo $* >> {calls}
for last; do :; done
[ ! -e {calls}.broken ] || {{ echo banner >&2; echo "ssh: No route to host" >&2; exit 255; }}
exec sh -c "exec $last"
"""
INVENTORY = "all: {children: {control_planes: {hosts: {one: {ansible_host: 192.0.2.1, %s}}}}}\n"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ssh was told, one line a call."""
    calls, program = tmp_path / "calls", tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(calls=calls))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{Path(sys.executable).parent}", prepend=":")
    return calls


def shell_of(folder: Path, variables: str) -> Shell:
    inventory = folder / "inventory.yml"
    inventory.write_text(INVENTORY % variables)
    (host,) = testinfra.get_hosts(["ansible://all"], ansible_inventory=str(inventory))
    return Shell(host)


@pytest.fixture
def shell(calls: Path, tmp_path: Path) -> Iterator[Shell]:
    assert calls
    found = shell_of(tmp_path, "ansible_user: ada")
    yield found
    found.close()


def sessions(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_all_commands_share_a_session(shell: Shell, calls: Path) -> None:
    first = shell.run("echo %s; echo why >&2; exit 3", "it's $HOME")
    assert (first.rc, first.stdout, first.stderr) == (3, "it's $HOME\n", "why\n")
    assert shell.run("printf 'one\\ntwo\\303\\244'").stdout == "one\ntwo\u00e4"
    assert shell.run("cat").stdout == "", "nothing is to be read"
    assert sessions(calls) == 1
    assert "User=ada" in calls.read_text()


def test_what_was_begun_early_serves_once(shell: Shell, tmp_path: Path) -> None:
    count = f"echo x >> {tmp_path}/count; wc -l < {tmp_path}/count"
    shell.begin(["echo one", count, "echo two"])
    assert shell.run("echo three").stdout == "three\n"
    assert shell.run("echo two").stdout == "two\n"
    assert [shell.run(count).stdout.strip() for _ in range(2)] == ["1", "2"]


def test_a_machine_that_is_not_reached_says_why_each_time(shell: Shell, calls: Path) -> None:
    broken = calls.with_name("calls.broken")
    broken.touch()
    shell.begin(["true", "echo early"])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^ssh: No route to host$"):
            shell.run("echo early")
    broken.unlink()
    assert shell.run("echo early").stdout == "early\n"


def test_a_session_that_ends_in_the_middle_is_no_answer(shell: Shell) -> None:
    with pytest.raises(RuntimeError, match="no reason was given"):
        shell.run("kill -9 $PPID")
    assert shell.run("echo again").stdout == "again\n"


def test_where_ssh_is_not_the_way_testinfra_knows_it(calls: Path, tmp_path: Path) -> None:
    shell = shell_of(tmp_path, "ansible_connection: local")
    shell.begin(["echo early"])
    assert shell.run("echo %s", "a b").stdout == "a b\n"
    assert not calls.exists()


@pytest.mark.parametrize("noise", ["echo HELLO", "printf HELLO", "echo one; echo; echo two"])
def test_what_the_users_shell_says_first_is_no_answer(shell: Shell, calls: Path, noise: str) -> None:
    """As a .bashrc with an echo in it does, for every session."""
    ssh = calls.with_name("bin") / "ssh"
    ssh.write_text(ssh.read_text().replace('exec sh -c "exec $last"', f'{noise}\nexec sh -c "$last"'))
    assert [shell.run(f"echo {word}").stdout for word in ("a", "b")] == ["a\n", "b\n"]
    done = heard(shell.host, "printf '\\303\\244\\n'; echo %s; echo why >&2; exit 3", "it's")
    assert (done.rc, done.stdout, done.stderr) == (3, "ä\nit's\n", "why\n")
    program = 'print(\'{"answers": {}, "booted": 7, "now": 8, "kubeconfigs": {}, "services": []}\')'
    assert Look.at(shell.host, program, {}).booted == 7
    variables = {"one": {"node_address": "192.0.2.1"}}
    assert Cluster({"one": shell.host}, ["one"], variables).sh("echo '{}'").stdout == "{}\n"


def test_commands_are_left_to_a_shell_that_says_nothing(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As zsh with a .zshenv that prints."""
    loud = tmp_path / "loud"
    loud.write_text('#!/bin/sh\necho HELLO\nexec sh "$@"\n')
    loud.chmod(0o755)
    monkeypatch.setenv("SHELL", str(loud))
    assert shell.run("echo a").stdout == "a\n"
