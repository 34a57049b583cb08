"""The check of a bare machine, run on this one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles" / "lab_check" / "files" / "machine-check"


def check(*ports: int, off_s: int = 0, **env: str) -> list[str]:
    words = [str(int(time.time()) + off_s), "lab", *map(str, ports)]
    done = subprocess.run([SCRIPT, *words], env={**os.environ, **env}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("off_s", [3600, -3600])
def test_a_clock_that_is_off_is_said(off_s: int) -> None:
    assert any("The clock is" in line and "timedatectl" in line for line in check(off_s=off_s))
    assert not any("clock" in line for line in check(off_s=off_s // 36))


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_in_use_is_said(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        port = taken.getsockname()[1]
        assert [line for line in check(port) if line.startswith(f"Port {port} is in use")]
    assert not any(line.startswith("Port") for line in check(port))


@pytest.mark.parametrize(("owner", "is_said"), [("other", True), ("lab", False), ("", False)])
def test_a_machine_of_another_lab_is_said(tmp_path: Path, owner: str, is_said: bool) -> None:  # noqa: FBT001
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "lab": owner}, indent=1))
    said = [line for line in check(LABCTL_MANIFEST=str(manifest)) if line.startswith("This machine is one of")]
    assert bool(said) == is_said
