"""Virtual machines by Vagrant and libvirt, emulated without KVM, from a box to a worker that dies: about half an hour.

`make vm` runs it and shows the timings.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import yaml

from labctl import bundle, config, paths
from tests.e2e.conftest import Cli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("vagrant") is None, reason="scripts/install-deps --vm installs Vagrant"),
]
SCRIPTS = Path(__file__).parents[2] / "scripts"
BOX = "labctl/trixie"
SET_RIGHT_S = 5
"""a command by SSH takes its time, in emulation"""
# kubeadm wants two CPUs for a control plane.
SIZES = {"cp-1": {"cpus": 2, "memory": "3Gi"}, "worker-1": {"cpus": 1, "memory": "1500Mi"}}
TIMINGS: dict[str, float] = {}


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Note how long it took, and say so."""
    began = time.monotonic()
    try:
        yield
    finally:
        TIMINGS[what] = time.monotonic() - began
        print(f"\n{what}: {TIMINGS[what]:.0f} s", file=sys.stderr)


def virsh(*words: str) -> str:
    argv = ["virsh", "--connect", "qemu:///system", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def vagrant_home(home: Path) -> Iterator[Path]:
    """A folder of boxes that has nothing but ours."""
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None, "labctl bundle build"
    folder = home / "vagrant.d"
    env = {**os.environ, "VAGRANT_HOME": str(folder), "TMPDIR": str(home)}
    with timed("box"):
        subprocess.run([SCRIPTS / "vagrant-box", found.path, BOX], env=env, check=True)
    yield folder
    for volume in virsh("vol-list", "default").split():
        if volume.startswith(BOX.replace("/", "-VAGRANTSLASH-")):
            virsh("vol-delete", "--pool", "default", volume)


@pytest.fixture(scope="module")
def lab(home: Path, vagrant_home: Path) -> Iterator[Cli]:
    """One control plane and one worker; gone at the end, and nothing of them left."""
    name = f"v-{os.getpid()}"
    cwd = home / name
    cwd.mkdir()
    cli = Cli(name, home, cwd, {"VAGRANT_HOME": str(vagrant_home)})
    tree = {"name": name, "provider": "vagrant", "slow_machine": True, "workers": 1, "nodes": SIZES}
    (cwd / "labctl.yml").write_text(yaml.safe_dump({**tree, "vagrant": {"box": BOX}}))
    try:
        with timed("labctl up, from a box to the page, checks included"):
            cli.json("up")
        yield cli
    finally:
        with timed("labctl down"):
            cli("down")
        assert name not in virsh("list", "--all", "--name")
        assert f"labctl-{name}" not in virsh("net-list", "--all", "--name")
        assert not (home / "labs" / name).exists()
        print("\n" + "\n".join(f"{seconds:6.0f} s  {what}" for what, seconds in TIMINGS.items()), file=sys.stderr)


def nodes_of(lab: Cli) -> dict[str, dict[str, object]]:
    return {node["name"].removeprefix(f"{lab.lab}-"): node for node in lab.json("status")["nodes"]}


def test_the_page_answers_on_each_machine(lab: Cli) -> None:
    seen = nodes_of(lab)
    assert {(node["power"], node["ready"]) for node in seen.values()} == {("on", True)}
    for node in seen.values():
        assert b"ello" in urllib3.request("GET", f"http://{node['address']}:30080/", timeout=30.0).data


def test_nodes_have_the_address_of_the_private_network(lab: Cli) -> None:
    """Not that of the interface behind NAT, where Vagrant's own SSH goes."""
    items = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    found = {
        item["metadata"]["name"]: [a["address"] for a in item["status"]["addresses"] if a["type"] == "InternalIP"]
        for item in items
    }
    assert found == {f"{lab.lab}-cp-1": ["192.168.56.10"], f"{lab.lab}-worker-1": ["192.168.56.20"]}


def test_all_checks_pass(lab: Cli) -> None:
    with timed("labctl verify"):
        report = lab.json("verify")
    assert [result for result in report["results"] if result["status"] in ("failed", "error")] == []


def test_a_worker_dies_and_returns(lab: Cli) -> None:
    with timed("labctl drill only-worker-poweroff"):
        verdict = lab.json("drill", "only-worker-poweroff")
    for stage in verdict["stages"]:
        if stage.get("measured_s") is not None:
            TIMINGS[f"  drill: {stage['name']}"] = stage["measured_s"]
    assert verdict["verdict"] == "pass", verdict
    assert {(node["power"], node["ready"]) for node in nodes_of(lab).values()} == {("on", True)}


def test_a_clock_that_is_wrong_is_set_right_again(lab: Cli) -> None:
    """Where a machine has one of its own."""
    with timed("labctl drill clock-skew"):
        verdict = lab.json("drill", "clock-skew")
    assert verdict["verdict"] == "pass", verdict
    ahead = float(lab("ssh", "worker-1", "--", "date", "+%s")) - time.time()
    assert abs(ahead) < SET_RIGHT_S


def test_the_playbook_by_hand_finds_the_same_cluster(lab: Cli) -> None:
    inventory = lab("inventory", "--path").strip()
    with timed("ansible-playbook up.yml, a second time"):
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, paths.playbook("up.yml")],
            env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    recap = [line for line in done.stdout.splitlines() if "unreachable=" in line]
    assert len(recap) == 2
    assert all("changed=0 " in line for line in recap), recap
