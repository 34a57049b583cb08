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


def check(*ports: int, off_s: int = 0, cni: str = "routed", peers: str = "", path: str = "", **env: str) -> list[str]:
    words = [str(int(time.time()) + off_s), "lab", cni, peers, *map(str, ports)]
    there = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", **env}
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=True, env=there).stdout.splitlines()


def stand_in(folder: Path, program: str, script: str) -> str:
    """The folder with a program that only says what it is to say."""
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)
    return str(folder)


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


def test_a_router_on_the_way_is_said_unless_the_network_goes_across(tmp_path: Path) -> None:
    say = 'case $4 in 198.*) echo "$4 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0";; *) echo "$4 dev eth0 uid 0";; esac'
    path = stand_in(tmp_path, "ip", say)
    said = [line for line in check(peers="192.0.2.3,198.51.100.4", path=path) if "router" in line]
    why = "leads through a router, 192.0.2.1, which knows nothing of pods: cni: vxlan (lab_cni) goes across"
    assert said == [f"The way to 198.51.100.4 {why}"]
    path = stand_in(tmp_path, "unshare", "exit 0")
    assert not any("router" in line for line in check(peers="198.51.100.4", cni="vxlan", path=path))
    assert not any("router" in line for line in check(peers="198.51.100.4", cni="none", path=path))


def test_a_kernel_without_vxlan_is_said_where_it_is_wanted(tmp_path: Path) -> None:
    path = stand_in(tmp_path, "unshare", "echo 'Error: Unknown device type.' >&2; exit 2")
    said = [line for line in check(cni="vxlan", path=path) if "vxlan" in line]
    need = "which cni: vxlan needs: another kernel, or cni: routed on one network"
    assert said == [f"Its kernel makes no vxlan devices (Error: Unknown device type.), {need}"]
    assert not any("vxlan" in line for line in check(cni="routed", path=path))


@pytest.mark.parametrize(("owner", "is_said"), [("other", True), ("lab", False), ("", False)])
def test_a_machine_of_another_lab_is_said(tmp_path: Path, owner: str, is_said: bool) -> None:  # noqa: FBT001
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "lab": owner}, indent=1))
    said = [line for line in check(LABCTL_MANIFEST=str(manifest)) if line.startswith("This machine is one of")]
    assert bool(said) == is_said
