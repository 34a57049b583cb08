"""A docker engine for the tests: the one that answers, or one of their own beside everything else on this host."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from labctl import paths

_STARTS_WITHIN_S = 60
_BRIDGE = "labctl-e2e0"
_SUBNET = "10.204.0.1/24"


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Yields what to add to the environment. A daemon that is started here is ended by its process ID."""
    if not shutil.which("dockerd"):
        pytest.skip("dockerd is not installed: scripts/install-deps --tests")
    if _answers({}):
        yield {}
        return
    runtime = Path(tempfile.mkdtemp(prefix="labctl-docker-"))
    env = {"DOCKER_HOST": f"unix://{runtime}/docker.sock"}
    _ip("link", "add", _BRIDGE, "type", "bridge")
    try:
        _ip("address", "add", _SUBNET, "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        with (runtime / "log").open("w") as log:
            daemon = subprocess.Popen(_argv(runtime, env), stdout=log, stderr=log, start_new_session=True)
        try:
            _await(daemon, env, runtime / "log")
            yield env
        finally:
            daemon.terminate()
            daemon.wait()
    finally:
        _ip("link", "delete", _BRIDGE)
        for part in psutil.disk_partitions(all=True):  # the daemon leaves the network namespace of the host mounted
            if Path(part.mountpoint).is_relative_to(runtime):
                subprocess.run(["umount", part.mountpoint], check=True)
        shutil.rmtree(runtime)


def _argv(runtime: Path, env: dict[str, str]) -> list[str]:
    # Its images stay in the cache: the second run of the tests need not bake a machine for docker again.
    data = paths.cache() / "e2e-docker"
    words = ["dockerd", "--host", env["DOCKER_HOST"], "--bridge", _BRIDGE, "--data-root", str(data)]
    return [*words, "--exec-root", str(runtime / "exec"), "--pidfile", str(runtime / "pid")]


def _await(daemon: subprocess.Popen[bytes], env: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while not _answers(env):
        assert daemon.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def _answers(env: dict[str, str]) -> bool:
    words = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, check=False).returncode == 0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
