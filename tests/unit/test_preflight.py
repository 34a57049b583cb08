import struct
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from labctl import process
from labctl.bootstrap import refuse_problems
from labctl.errors import PrerequisiteError
from labctl.process import Completed
from labctl.providers import host, preflight
from labctl.providers.base import Problem
from labctl.providers.engine import Engine

FACTS = host.HostFacts(cgroup=2, max_files=9999, max_processes=1, can_sys_admin=True, can_sys_resource=True)


class FakeEngine(Engine):
    code = 0

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        return Completed(tuple(map(str, words)), self.code, "{}", "no storage driver" if self.code else "")


@pytest.fixture
def host_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(process, "has", lambda _program: True)
    monkeypatch.setattr(host, "look", lambda: FACTS)
    monkeypatch.setattr(host, "inotify_too_small", dict)
    monkeypatch.setattr(host, "has_nftables", lambda: True)


@pytest.mark.usefixtures("host_is_fine")
def test_a_host_that_is_fine_has_no_problems() -> None:
    assert preflight.check(FakeEngine()) == []


@pytest.mark.usefixtures("host_is_fine")
def test_without_root_the_command_to_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (problem,) = preflight.check(FakeEngine())
    assert "need root" in problem.text
    assert problem.hint.startswith("sudo ")


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
    engine = FakeEngine()
    engine.code = 125
    (problem,) = preflight.check(engine)
    assert "no storage driver" in problem.text


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
