from collections import namedtuple
from pathlib import Path

import pytest

from labctl import bake, bootstrap
from labctl.config import LabConfig
from labctl.errors import PlaybookError, PrerequisiteError
from labctl.paths import LabPaths
from labctl.providers import needs
from labctl.providers.base import Problem
from labctl.providers.container import ContainerProvider
from labctl.providers.engine import Engine

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 (as shutil.disk_usage returns it)
Memory = namedtuple("Memory", "available")  # noqa: PYI024 (the part of psutil's that is read)

PLENTY = {
    "kernel/pid_max": 4194304,
    "kernel/threads-max": 200000,
    "fs/file-max": 2**63 - 1,
    "fs/file-nr": 2000,
    "fs/inotify/max_user_instances": 8192,
}


class Host:
    """What the host has; a test takes something away."""

    def __init__(self) -> None:
        self.free = 100e9
        self.memory = 16e9
        self.settings = dict(PLENTY)
        self.disks: dict[str, int] = {}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage(200e9, 0, made.free))
    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory(made.memory))
    monkeypatch.setattr(needs, "_setting", lambda name: made.settings[name])
    monkeypatch.setattr(needs, "_inotify_in_use", lambda: 100)
    monkeypatch.setattr(needs, "_disk_of", lambda path: made.disks.get(path.name, 1))
    monkeypatch.setattr(Engine, "store", lambda _self: tmp_path / "store")
    return made


def check(config: LabConfig | None = None, running: int = 0, *, is_baked: bool = True) -> list[Problem]:
    return needs.check(config or LabConfig(), Engine(), running=running, is_baked=is_baked)


def test_a_host_with_plenty_has_no_problem(host: Host) -> None:
    assert check(is_baked=False) == []


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("kernel/pid_max", 700, "processes"),
        ("kernel/threads-max", 700, "processes"),
        ("fs/file-max", 3000, "file handles"),
        ("fs/inotify/max_user_instances", 128, "inotify instances"),
    ],
)
def test_a_kernel_limit_that_is_too_low_is_said_with_its_command(
    host: Host, setting: str, value: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_threads", lambda: 500)
    host.settings[setting] = value
    (problem,) = check()
    assert problem.text.startswith(said)
    assert setting.replace("/", ".") in problem.hint


def test_memory_is_counted_by_machine_and_only_for_those_that_are_not_on(host: Host) -> None:
    host.memory = 1.5e9
    assert check() == []
    (problem,) = check(LabConfig(workers=50))
    assert problem.text.startswith("memory: 1.5 GB free, about ")
    assert "fewer --workers" in problem.hint
    assert check(LabConfig(workers=50), running=50) == []


def test_a_limit_of_memory_below_what_a_control_plane_takes_is_refused(host: Host) -> None:
    (problem,) = check(LabConfig.model_validate({"node": {"memory": "300Mi"}}))
    assert "node.memory: 300Mi is too little" in problem.text
    assert check(LabConfig.model_validate({"node": {"memory": "2Gi"}})) == []


def test_a_bake_needs_more_disk_than_a_lab(host: Host) -> None:
    host.free = 2e9
    assert check() == []
    (problem,) = check(is_baked=False)
    assert problem.text.startswith("disk: 2.0 GB free at ")
    assert "LABCTL_HOME and XDG_CACHE_HOME" in problem.hint


def test_a_lab_on_another_disk_than_the_cache_cannot_share_files_with_it(host: Host) -> None:
    host.free = 2e9
    host.disks["home"] = 2
    (problem,) = check()
    assert problem.text.startswith("disk: 2.0 GB free at ")


def test_a_need_that_is_not_met_ends_up_before_anything_is_changed(host: Host) -> None:
    host.memory = 0.1e9
    with pytest.raises(PrerequisiteError, match=r"memory: 0\.1 GB free"):
        bake.refuse_problems(check())


def test_a_step_that_fails_on_a_full_disk_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_work: bootstrap.Up) -> str:
        raise PlaybookError("kubeadm init failed", "the whole log: x")

    work = bootstrap.Up(LabConfig(), LabPaths("lab"), Path(), lambda _event: None, ContainerProvider("lab"))
    with pytest.raises(PlaybookError) as caught:
        bootstrap._explained(work, step)
    assert caught.value.message == "kubeadm init failed"
    host.free, host.memory = 5e6, 50e6
    with pytest.raises(PlaybookError) as caught:
        bootstrap._explained(work, step)
    assert "\nNo space left on device: 0.01 GB are free at " in caught.value.message
    assert "\nOut of memory: 0.05 GB are free." in caught.value.message


def test_this_host_can_be_asked_without_an_engine_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    found = needs.look(LabConfig(), Engine("no-such-engine"), running=0, is_baked=True)
    assert {"memory", "processes", "file handles", "inotify instances"} < {need.name for need in found}
    assert all(need.needed > 0 for need in found)
    assert all(need.free != 0 for need in found)
