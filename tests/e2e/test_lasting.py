"""Labs that last: stop and start, all nodes dead at once, a host that restarts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import urllib3

from tests.e2e.conftest import Cli, podman

PATIENCE_S = 180
SMALL = ("--workers", "1", "--timing", "drill")


def test_a_lab_is_stopped_and_started(lab: Cli) -> None:
    before = lab.json("status")["nodes"]
    assert lab.json("stop")["stopped"] == [node["name"] for node in before]
    seen = lab.json("status")
    assert {node["power"] for node in seen["nodes"]} == {"off"}
    assert seen["broken"] == [f"the lab is stopped: labctl start --lab {lab.lab}"]
    for name in lab.containers():
        assert podman("inspect", "--format", "{{.State.ExitCode}}", name).strip() != "137", f"{name} was killed"
    assert lab.json("stop")["stopped"] == []
    assert sorted(lab.json("start")["started"]) == sorted(node["name"] for node in before)
    _is_as_before(lab, before)


def test_a_stopped_lab_comes_back_with_up(lab: Cli) -> None:
    before = lab.json("status")["nodes"]
    lab("stop")
    result = lab.json("up", "--timing", "drill")
    assert result["changed"] == len(before), "what it did is to start the machines"
    assert all(node["ready"] for node in result["nodes"])
    _is_as_before(lab, before)


def test_all_nodes_die_at_once(lab: Cli) -> None:
    before = lab.json("status")["nodes"]
    podman("kill", *lab.containers())
    time.sleep(2)  # a restart policy that brought them back would have done it by now; nothing can be awaited
    assert {node["power"] for node in lab.json("status")["nodes"]} == {"off"}, "dead machines stay dead"
    lab("start")
    _is_as_before(lab, before)


def _is_as_before(lab: Cli, before: list[dict[str, object]]) -> None:
    now = lab.json("status")
    assert now["nodes"] == before
    assert now["broken"] == []
    assert lab.json("up", "--timing", "drill")["changed"] == 0
    for node in before:
        assert b"Hello World" in urllib3.request("GET", f"http://{node['address']}:30080/", timeout=5).data


def test_the_host_restarts(home: Path) -> None:
    with Host() as host:
        lab = OnHost(f"r-{os.getpid()}", home, home, host=host)
        try:
            lab.json("up", *SMALL)
            before = lab.json("status")["nodes"]
            host.power_cut()
            host.boot()
            assert {node["power"] for node in lab.json("status")["nodes"]} == {"off"}
            host("podman", "start", "--all", "--filter", "restart-policy=always")  # ExecStart of podman-restart.service
            deadline = time.monotonic() + PATIENCE_S
            while (now := lab.json("status")["nodes"]) != before and time.monotonic() < deadline:
                time.sleep(0.5)
            assert now == before
            assert lab.json("up", *SMALL)["changed"] == 0, "and it says that the page is there"
        finally:
            lab("down")


class Host:
    """Stands for a host: processes, mounts and network of its own, and a /run in memory, all of which a power cut ends.

    On its disk are podman's containers; the images are those of the real host.
    """

    def __init__(self) -> None:
        self._disk = Path(tempfile.mkdtemp(prefix="labctl-"))
        usual = podman("info", "--format", "{{.Store.GraphRoot}}").strip()
        conf = self._disk / "storage.conf"
        conf.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self._disk}/store"\nrunroot = "/run/containers/storage"\n'
            f'[storage.options]\nadditionalimagestores = ["{usual}"]\n'
        )
        self.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf), "CONTAINERS_CONF": "/dev/null"}
        self._first: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()
        shutil.rmtree(self._disk)

    def boot(self) -> None:
        namespaces = ("--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private")
        script = """
            mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs tmpfs /dev/shm && ip link set lo up &&
            echo up && exec sleep infinity"""
        self._first = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare does not like how its child ends
            text=True,
        )
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == "up\n"

    def power_cut(self) -> None:
        """Every process of the host dies at once, for its first one does."""
        assert self._first is not None
        containers = self("podman", "ps", "--all", "--quiet", "--no-trunc").split()
        os.kill(self._init(), signal.SIGKILL)
        self._first.wait()
        for container in containers:  # the kernel is the real one, and would keep them
            for group in Path("/sys/fs/cgroup").rglob(f"libpod-{container}*"):
                subprocess.run(["find", str(group), "-depth", "-type", "d", "-delete"], check=True)

    def argv(self, *words: str) -> list[str]:
        return ["nsenter", "--target", str(self._init()), "--mount", "--net", "--pid", *words]

    def __call__(self, *words: str) -> str:
        return subprocess.run(self.argv(*words), env=self.env, capture_output=True, text=True, check=True).stdout

    def _init(self) -> int:
        assert self._first is not None
        return int(Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text())


@dataclass
class OnHost(Cli):
    """labctl as a user of that host calls it."""

    host: Host = field(kw_only=True)

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **self.host.env, "LABCTL_HOME": str(self.home)}

    def argv(self, command: str, *words: str) -> list[str]:
        return self.host.argv(*super().argv(command, *words))
