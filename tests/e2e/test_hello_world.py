"""The newcomer's walk: create the Pod from its file, watch it, forward a port, look at the page, delete it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli

POD_FILE = Path(__file__).parents[2] / "roles" / "hello_world" / "files" / "helloworld-pod.yml"


@pytest.fixture
def pod(lab: Cli) -> Iterator[list[str]]:
    """The Pod made by hand; yields its phases as `get pods --watch` shows them, in order."""
    lab.kubectl("delete", "pod", "hello-world", "--ignore-not-found")
    watch = subprocess.Popen(
        lab.argv(
            "kubectl", "--", "get", "pods", "--watch", "--no-headers", "--field-selector", "metadata.name=hello-world"
        ),
        env=lab.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    try:
        lab.kubectl("create", "-f", str(POD_FILE))
        lab.kubectl("wait", "--for=condition=Ready", "pod/hello-world", "--timeout=60s")
        seen = []
        for line in watch.stdout:
            seen.append(line.split()[2])
            if seen[-1] == "Running":
                break
    finally:
        watch.terminate()
        watch.wait()
    yield seen
    lab.kubectl("apply", "-f", str(POD_FILE))
    lab.kubectl("wait", "--for=condition=Ready", "pod/hello-world", "--timeout=60s")


def test_the_pod_as_a_newcomer_meets_it(lab: Cli, pod: list[str], tmp_path: Path) -> None:
    assert pod[-1] == "Running"
    assert "ContainerCreating" in pod
    raw = json.loads(lab.kubectl("get", "pod", "hello-world", "-o", "json"))
    assert [container["name"] for container in raw["spec"]["containers"]] == ["helloworld"]
    assert raw["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = subprocess.Popen(
        lab.argv("kubectl", "--", "port-forward", "hello-world", f"{port}:80"),
        env=lab.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout is not None
        assert "Forwarding from 127.0.0.1" in forward.stdout.readline()
        page = _browse(f"http://127.0.0.1:{port}/", tmp_path)
    finally:
        forward.terminate()
        forward.wait()
    assert re.search(r"<h1[^>]*>\s*Hello World", page)
    assert "hello-world" in page
    assert raw["spec"]["nodeName"] in page
    lab.kubectl("delete", "-f", str(POD_FILE))
    lab.kubectl("create", "-f", str(POD_FILE))
    lab.kubectl("delete", "pod", "hello-world")
    assert "NotFound" in _error(lab, "get", "pod", "hello-world")


def _browse(url: str, profile: Path) -> str:
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet),
            *(f"--user-data-dir={profile}", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def _error(lab: Cli, *words: str) -> str:
    lab.kubectl(*words, code=1)
    assert lab.last is not None
    return lab.last.stderr
