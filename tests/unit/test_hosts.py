"""The provider of machines that are there already; ssh and power commands are stood in for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from labctl import inventory, lifecycle, paths, process, state
from labctl.config import LabConfig
from labctl.config_hosts import Ssh
from labctl.errors import PrerequisiteError, ProviderError, UsageError
from labctl.process import Completed
from labctl.providers import hosts
from labctl.providers.base import CanPowerOff, CanStop, Machine
from labctl.providers.choose import provider_of

SWITCH = {"off": ["tool", "off", "{name}"], "on": ["tool", "on", "{name}"], "status": ["tool", "is", "{address}"]}


def config(**more: object) -> LabConfig:
    data = {
        "provider": "hosts",
        "ssh": {"user": "friend", "key": "/k", "jump": "me@bastion", "known_hosts": "/h"},
        "hosts": {
            "one": {"role": "control-plane", "address": "192.0.2.11"},
            "two": {"address": "192.0.2.12", "port": 2222, "user": "root"},
        },
    }
    return LabConfig.model_validate({**data, **more})


Answer = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[list[str]]]:
    """Has programs answer what is asked for; returns the list of commands that there will be."""

    def answering(answer: Answer) -> list[list[str]]:
        calls: list[list[str]] = []

        def stand_in(argv: list[str], *, check: bool = True, **_: object) -> Completed:
            words = [str(word) for word in argv]
            calls.append(words)
            done = Completed(tuple(words), *answer(words))
            if check and done.code:
                raise process.CommandError(done)
            return done

        monkeypatch.setattr(process, "run", stand_in)
        monkeypatch.setattr(process, "has", lambda _program: True)
        monkeypatch.setattr(hosts, "_POLL_S", 0)
        return calls

    return answering


def test_the_way_to_a_machine() -> None:
    provider = hosts.of(config())
    one, two = (provider.way(Machine(name, "worker", "", "on")) for name in ("one", "two"))
    assert not one.is_root, "a user who is not root goes through sudo"
    assert shlex.join(one.words) == (
        "ssh -o ConnectTimeout=10 -o LogLevel=ERROR -o 'UserKnownHostsFile=\"/h\"' -o StrictHostKeyChecking=yes "
        "-o IdentitiesOnly=yes -o ProxyJump=me@bastion -i /k -l friend 192.0.2.11"
    )
    assert two.is_root
    assert two.words[-5:] == ("-p", "2222", "-l", "root", "192.0.2.12")


def test_what_is_not_said_is_left_to_ssh() -> None:
    assert hosts.ssh_words(Ssh(), "one") == ["ssh", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR", "one"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((255, "", "Host key verification failed."), "one is not reached by SSH at 192.0.2.11: Host key verification"),
        ((1, "", "sudo: a password is required"), "one: sudo without a password is not allowed there"),
        ((0, "1000\n", ""), "one: the user there is not root"),
    ],
)
def test_a_machine_that_cannot_be_used_is_named_before_anything_is_changed(
    answer: tuple[int, str, str], said: str, run: Callable[[Answer], list[list[str]]]
) -> None:
    calls = run(lambda words: answer if "192.0.2.11" in words else (0, "0\n", ""))
    (problem,) = hosts.of(config()).preflight()
    assert problem.text.startswith(said)
    assert problem.hint
    assert {words[-1].split()[-1].strip("'") for words in calls} == {"-u"}, "it only asked who it is"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("lab lab\n", []),
        ("lab other\n", ["one is a machine of the lab other, not of lab"]),
        ("kubernetes\nunit kubelet\n", ["one is a node of a cluster that labctl", "one has a unit kubelet.service"]),
        ("no-python\n", ["one has no python3"]),
    ],
)
def test_a_machine_that_is_somebody_elses_is_refused(
    lines: str, said: list[str], run: Callable[[Answer], list[list[str]]]
) -> None:
    run(lambda words: (0, lines if "192.0.2.11" in words else "", ""))
    found = hosts.of(config()).obstacles(config(), is_baked=True)
    assert len(found) == len(said)
    assert all(problem.text.startswith(start) for problem, start in zip(found, said, strict=True))


def test_programs_are_for_the_machines_not_for_this_one(run: Callable[[Answer], list[list[str]]]) -> None:
    run(lambda _words: (0, "aarch64\n", ""))
    assert hosts.of(config()).architecture() == "arm64"
    run(lambda words: (0, "x86_64" if "192.0.2.11" in words else "aarch64", ""))
    with pytest.raises(ProviderError, match="of one architecture: one is x86_64, two is aarch64"):
        hosts.of(config()).architecture()
    run(lambda _words: (0, "riscv64", ""))
    with pytest.raises(PrerequisiteError, match="no bundle for riscv64"):
        hosts.of(config()).architecture()


def test_without_power_commands_nobody_can_switch(
    run: Callable[[Answer], list[list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lambda words: (255 if "192.0.2.12" in words else 0, "", ""))
    provider = hosts.of(config())
    assert not isinstance(provider, CanPowerOff)
    assert [machine.power for machine in provider.machines()] == ["on", "unreachable"]
    provider.power_on("one")
    with pytest.raises(ProviderError, match="two does not answer, and labctl has no switch"):
        provider.power_on("two")
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    state.save(state.LabRecord(created=state.now(), config=config(), bundle="/b"))
    assert provider_of("lab").name == "hosts"
    with pytest.raises(UsageError, match="not labctl's to switch"):
        lifecycle.stop("lab", lambda _: None)


def test_power_commands_are_believed_only_when_the_status_says_so(run: Callable[[Answer], list[list[str]]]) -> None:
    states = iter(["running", "running", "shut off", "shut off", "shut off", "running"])
    calls = run(lambda words: (0, next(states) if words[1:2] == ["is"] else "0\n", ""))
    provider = hosts.of(config(power=SWITCH))
    assert isinstance(provider, CanStop)
    provider.power_off("two")
    assert calls == [["tool", "is", "192.0.2.12"], ["tool", "off", "two"], *[["tool", "is", "192.0.2.12"]] * 2]
    calls.clear()
    provider.power_on("two")
    assert calls[:4] == [
        *[["tool", "is", "192.0.2.12"]],
        *[["tool", "on", "two"]],
        *[["tool", "is", "192.0.2.12"]] * 2,
    ]
    assert calls[4][0] == "ssh", "on is what answers"
    with pytest.raises(ProviderError, match="three is no machine"):
        provider.power_off("three")


def test_a_status_that_says_neither_is_an_error(run: Callable[[Answer], list[list[str]]]) -> None:
    run(lambda _words: (0, "who knows\n", ""))
    provider = hosts.of(config(power=SWITCH))
    with pytest.raises(ProviderError, match="neither on nor off of two: 'who knows'"):
        provider.power("two")
    run(lambda _words: (3, "", "no such machine"))
    with pytest.raises(ProviderError, match="the power command of two failed"):
        provider.power("two")


def test_the_inventory_reaches_hosts_as_labctl_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    lab = config(leave_alone=["swap"], hosts={**config().model_dump(mode="json")["hosts"]})
    more = {"one": {"ansible_become_password": "x", "lab_name": "another", "my_own": 1}}
    planned = hosts.of(lab).plan(lab)
    assert planned[1].pod_subnet == IPv4Network("10.244.1.0/24")
    tree = yaml.safe_load(inventory.for_lab(lab, planned, Path("/b"), paths.LabPaths("lab"), more))["all"]
    one = tree["children"]["control_planes"]["hosts"]["one"]
    assert one["my_own"] == 1
    assert "lab_name" not in one, "labctl.yml goes before what the inventory says"
    assert (one["ansible_host"], one["ansible_user"], one["ansible_become"]) == ("192.0.2.11", "friend", True)
    assert "ProxyJump=me@bastion" in one["ansible_ssh_common_args"]
    assert tree["children"]["workers"]["hosts"]["two"]["ansible_port"] == 2222
    assert tree["vars"]["lab_leave_alone"] == ["swap"]
    assert "ansible_user" not in tree["vars"]


def test_what_the_users_shell_says_first_is_no_answer(run: Callable[[Answer], list[list[str]]]) -> None:
    """As a .bashrc with an echo in it does."""

    def loud(words: list[str]) -> tuple[int, str, str]:
        found = re.search(r"labctl-[0-9a-f]{16}", words[-1])
        answer = "0\n" if "id -u" in words[-1] else "x86_64\n" if "uname" in words[-1] else ""
        return 0, f"no-python\nlab other\n{found[0] if found else ''}\n{answer}", ""

    run(loud)
    provider = hosts.of(config())
    assert provider.preflight() == []
    assert provider.architecture() == "amd64"
    assert provider.obstacles(config(), is_baked=False) == []
