import struct
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pytest_subprocess import FakeProcess

from labctl import process
from labctl.bake import refuse_problems
from labctl.config import LabConfig
from labctl.errors import PrerequisiteError, ProviderError
from labctl.process import Completed
from labctl.providers import host, preflight, rootless
from labctl.providers.base import Problem
from labctl.providers.engine import Engine

FACTS = host.HostFacts(cgroup=2, max_files=9999, max_processes=1, can_sys_admin=True, can_sys_resource=True)


class FakeEngine(Engine):
    """Answers `info`, and says where its engine is."""

    def __init__(self, name: str = "podman", said: dict[str, Any] | None = None, refusal: str = "") -> None:
        super().__init__(name)
        self.said, self.refusal, self.at = said or {}, refusal, "unix:///var/run/docker.sock"

    def info(self) -> dict[str, Any]:
        if self.refusal:
            raise ProviderError(self.refusal)
        return self.said

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        return Completed(tuple(map(str, words)), 0, self.at, "")


@pytest.fixture
def host_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(process, "has", lambda _program: True)
    monkeypatch.setattr(host, "look", lambda: FACTS)
    monkeypatch.setattr(host, "inotify_too_small", dict)
    monkeypatch.setattr(host, "has_nftables", lambda: True)
    monkeypatch.setattr(host, "drops_between_pods", lambda: False)
    for variable in ("CONTAINER_HOST", "CONTAINER_CONNECTION", "DOCKER_HOST"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("host_is_fine")
def test_a_host_that_is_fine_has_no_problems() -> None:
    assert preflight.check(FakeEngine()) == []


@pytest.mark.usefixtures("host_is_fine")
def test_without_root_podman_says_what_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lack = [Problem("machines need root: cpuset is not delegated", "delegate it")]
    monkeypatch.setattr(rootless, "problems", lambda _engine: lack)
    assert preflight.check(FakeEngine()) == [], "root needs no delegation"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert preflight.check(FakeEngine()) == lack


@pytest.mark.usefixtures("host_is_fine")
def test_inside_one_engine_the_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(rootless, "inside", lambda: "podman")
    (problem,) = preflight.check(FakeEngine("docker"))
    assert "labctl is in podman's user namespace" in problem.text
    assert "--provider docker" in problem.hint
    assert preflight.check(FakeEngine()) == []


@pytest.mark.usefixtures("host_is_fine")
def test_all_missing_programs_are_named_at_once_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "has", lambda program: program not in ("podman", "ssh"))
    problems = preflight.check(FakeEngine())
    assert [problem.hint for problem in problems] == [
        "sudo apt-get install -y podman netavark",
        "sudo apt-get install -y openssh-client",
    ]


@pytest.mark.usefixtures("host_is_fine")
def test_an_engine_that_does_not_work_is_said_with_its_own_words() -> None:
    (problem,) = preflight.check(FakeEngine(refusal="no storage driver"))
    assert problem == Problem("podman does not work: no storage driver", "podman info")


@pytest.mark.usefixtures("host_is_fine")
@pytest.mark.parametrize(
    ("name", "said", "sentence"),
    [
        ("podman", {"host": {"serviceIsRemote": True}}, "talk to a service"),
        ("docker", {"OperatingSystem": "Docker Desktop"}, "in a virtual machine"),
        ("docker", {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "rootless"),
        ("docker", {"SecurityOptions": ["name=userns"]}, "userns-remap"),
    ],
)
def test_an_engine_whose_machines_would_be_out_of_reach_is_refused(
    name: str, said: dict[str, Any], sentence: str
) -> None:
    (problem,) = preflight.check(FakeEngine(name, said))
    assert sentence in problem.text
    assert problem.hint


@pytest.mark.usefixtures("host_is_fine")
@pytest.mark.parametrize("at", ["tcp://10.1.2.3:2376", "ssh://me@there"])
def test_a_docker_on_another_machine_is_refused_with_its_address(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    engine = FakeEngine("docker")
    assert preflight.check(engine) == [], "a socket of this host is none"
    engine.at = at
    (problem,) = preflight.check(engine)
    assert at in problem.text
    assert problem.hint == "docker context use default"
    monkeypatch.setenv("DOCKER_HOST", at)
    (problem,) = preflight.check(engine)
    assert problem.hint == "unset DOCKER_HOST"


@pytest.mark.usefixtures("host_is_fine")
def test_a_firewall_that_parts_pods_is_in_podmans_way_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "drops_between_pods", lambda: True)
    (problem,) = preflight.check(FakeEngine())
    assert "drops traffic between pods" in problem.text
    assert preflight.check(FakeEngine("docker")) == [], "docker lets pass what one of its bridges carries"


@pytest.mark.usefixtures("host_is_fine")
@pytest.mark.parametrize("variable", ["CONTAINER_HOST", "CONTAINER_CONNECTION"])
def test_a_podman_that_would_ask_a_service_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "ssh://me@there/run/podman.sock")
    (problem,) = preflight.check(FakeEngine())
    assert variable in problem.text
    assert problem.hint == f"unset {variable}"
    assert preflight.check(FakeEngine("docker")) == [], "docker does not read it"


@pytest.mark.usefixtures("host_is_fine")
def test_limits_of_the_kernel_and_of_this_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "inotify_too_small", lambda: {"max_user_instances": 512})
    weak = host.HostFacts(cgroup=2, max_files=9999, max_processes=1, can_sys_admin=False, can_sys_resource=False)
    monkeypatch.setattr(host, "look", lambda: weak)
    hints = [problem.hint for problem in preflight.check(FakeEngine())]
    assert "sudo sysctl -w fs.inotify.max_user_instances=512" in hints
    assert len(hints) == 2


@pytest.mark.usefixtures("host_is_fine")
def test_too_few_open_files_and_no_nftables_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "look", lambda: replace(FACTS, max_files=1024))
    monkeypatch.setattr(host, "has_nftables", lambda: False)
    files, nftables = preflight.check(FakeEngine())
    assert "1024 files" in files.text
    assert "ulimit -Hn" in files.hint
    assert "nftables" in nftables.text


def test_a_kernel_without_vxlan_is_said_where_a_lab_wants_it(fp: FakeProcess) -> None:
    fp.register(["unshare", fp.any()], returncode=2, stderr="Error: Unknown device type.\n")
    (problem,) = preflight.kernel_problems(LabConfig(cni="vxlan"))
    assert problem.text.endswith("which cni: vxlan needs: Error: Unknown device type.")
    assert preflight.kernel_problems(LabConfig()) == []
    fp.register(["unshare", fp.any()])
    assert preflight.kernel_problems(LabConfig(cni="vxlan")) == []


def test_a_kernel_without_ipv6_is_said_where_a_lab_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "has_ipv6", lambda: False)
    assert preflight.kernel_problems(LabConfig()) == []
    for family in ("dual", "ipv6"):
        (problem,) = preflight.kernel_problems(LabConfig.model_validate({"networks": {"family": family}}))
        assert problem.text == f"this kernel has no IPv6, which networks.family: {family} needs"


@pytest.mark.parametrize(
    ("answer", "has"),
    [
        (struct.pack("=IHHII", 16, 10 << 8 | 15, 0, 1, 0), True),  # NFT_MSG_NEWGEN
        (struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -22), False),  # NLMSG_ERROR: what a kernel without it says
        (OSError("Protocol not supported"), False),
    ],
)
def test_nftables_are_asked_for_in_the_kernels_own_words(
    answer: bytes | OSError, has: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = MagicMock()
    kernel.return_value.__enter__.return_value.recv.side_effect = [answer]
    monkeypatch.setattr("socket.socket", kernel)
    assert host.has_nftables() is has


def test_problems_end_a_command_before_anything_is_changed() -> None:
    refuse_problems([])
    with pytest.raises(PrerequisiteError) as caught:
        refuse_problems([Problem("no podman", "apt-get install podman"), Problem("no ssh", "apt-get install ssh")])
    assert "no podman" in caught.value.message
    assert "apt-get install ssh" in caught.value.message
    assert caught.value.exit_code == 4


def test_a_legacy_host_gets_runc_and_limits_that_it_can_have() -> None:
    legacy = host.HostFacts(cgroup=1, max_files=20000, max_processes=32768, can_sys_admin=True, can_sys_resource=False)
    words = host.run_arguments(legacy)
    assert words[words.index("--runtime") + 1] == "runc"
    assert "nofile=20000:20000" in words
    assert "--runtime" not in host.run_arguments(FACTS)
