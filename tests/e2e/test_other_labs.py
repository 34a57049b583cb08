"""Further labs beside the shared one: names, networks and ports do not collide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from labctl import bundle, config, inventory, paths
from labctl.events import Event
from labctl.providers.node_image import NodeImage
from labctl.state import write_file
from tests.e2e.conftest import Cli, podman

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


def test_one_machine_that_is_everything(lab: Cli, other: Cli) -> None:
    result = other.json("up", "--workers", "0")
    assert [node["role"] for node in result["nodes"]] == ["control-plane"]
    pods = json.loads(other.kubectl("get", "pods", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {result["nodes"][0]["name"]}
    addresses = {node["address"] for node in lab.json("status")["nodes"]}
    assert not addresses & {node["address"] for node in result["nodes"]}
    for cli in (lab, other):
        first = cli.json("status")["nodes"][0]["address"]
        assert b"Hello World" in urllib3.request("GET", f"http://{first}:30080/", timeout=5).data


def test_a_name_that_another_home_uses_is_refused(lab: Cli, tmp_path: Path) -> None:
    stranger = Cli(lab.lab, tmp_path, tmp_path)
    stranger("up", code=4)
    assert stranger.last is not None
    assert "is taken" in stranger.last.stderr
    stranger("down")
    assert len(lab.containers()) == 3, "down touches only what is its own"


def test_two_commands_on_one_lab(lab: Cli) -> None:
    first = subprocess.Popen(
        lab.argv("up", "--timing", "drill"), env=lab.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    first.stderr.readline()
    lab("up", "--timing", "drill", code=8)
    first.communicate()
    assert first.returncode == 0


def test_the_playbooks_by_hand(lab: Cli, home: Path) -> None:
    """The lab's own inventory serves ansible-playbook; --check changes nothing on a finished lab."""
    inventory_file = home / "labs" / lab.lab / "inventory.yml"
    for words in ([], ["--check", "--diff"]):
        done = _playbook(inventory_file, "up.yml", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        recap = [line for line in done.stdout.splitlines() if "changed=" in line]
        if words:
            assert all("failed=0" in line for line in recap)


def test_check_mode_on_an_empty_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(home))
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    image = NodeImage("check-mode")
    seen: list[Event] = []
    machine, keys = image.start(seen.append)
    try:
        path = home / "check-inventory.yml"
        write_file(path, inventory.for_bake(machine.name, machine.address, found.path, keys))
        paths.ssh_control(keys.folder).mkdir(parents=True, exist_ok=True)
        done = _playbook(path, "up.yml", "--check", "--diff", "-e", "lab_cni=routed node_pod_subnet=10.244.0.0/24")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "kubelet" not in podman("exec", machine.name, "ls", "/usr/local/bin")
    finally:
        image.discard()


def test_a_machine_whose_ports_are_taken_is_refused_before_anything_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(home))
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    image = NodeImage("ports")
    machine, keys = image.start(lambda _event: None)
    try:
        path = home / "ports-inventory.yml"
        write_file(path, inventory.for_bake(machine.name, machine.address, found.path, keys))
        paths.ssh_control(keys.folder).mkdir(parents=True, exist_ok=True)
        listen = "import socket as s; l = s.create_server(('127.0.0.1', 10250)); print(flush=True); l.accept()"
        with subprocess.Popen(
            ["podman", "exec", machine.name, "python3", "-c", listen], stdout=subprocess.PIPE
        ) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            done = _playbook(path, "prepare.yml")
            podman("exec", machine.name, "pkill", "python3")
        assert done.returncode != 0
        assert "Port 10250 is in use" in done.stdout
        assert "containerd" not in podman("exec", machine.name, "ls", "/usr/local/bin")
    finally:
        image.discard()


def test_an_inventory_that_makes_no_sense_is_refused(home: Path, lab: Cli) -> None:
    path = home / "bad-inventory.yml"
    path.write_text("all: {children: {control_planes: {hosts: {a: {}, b: {}}}, workers: {hosts: {}}}}")
    done = _playbook(path, "up.yml")
    assert done.returncode != 0
    assert "etcd needs an odd number of members" in done.stdout


@pytest.mark.slow
def test_a_slow_machine_has_patient_probes_and_is_whole(other: Cli, tmp_path: Path) -> None:
    other.cwd = tmp_path
    (tmp_path / "labctl.yml").write_text(f"name: {other.lab}\nslow_machine: true\nworkers: 1\n")
    other.json("up")  # with its checks
    pod = other.kubectl("-n", "kube-system", "get", "pod", f"kube-apiserver-{other.lab}-cp-1", "-o", "json")
    assert json.loads(pod)["spec"]["containers"][0]["livenessProbe"]["failureThreshold"] == 500
    dns = json.loads(other.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", "json"))
    assert dns["spec"]["replicas"] == 1
    report = other.json("verify")
    assert [result for result in report["results"] if result["status"] in ("failed", "error")] == []
    assert other.json("up")["changed"] == 0


@pytest.mark.slow
def test_three_control_planes(other: Cli) -> None:
    result = other.json("up", "--control-planes", "3", "--workers", "1")
    assert [node["ready"] for node in result["nodes"]] == [True] * 4
    assert other.json("up", "--control-planes", "3", "--workers", "1")["changed"] == 0
    podman("rm", "--force", "--time", "0", f"{other.lab}-cp-3")
    other("up", "--control-planes", "3", "--workers", "1", code=4)
    assert other.last is not None
    assert f"the control plane {other.lab}-cp-3 is gone" in other.last.stderr


@pytest.mark.slow
def test_two_labs_come_up_at_once(other: Cli) -> None:
    second = Cli(f"{other.lab}-too", other.home, other.cwd)
    try:
        ups = [
            subprocess.Popen(
                cli.argv("up", "--workers", "0"), env=cli.env, cwd=cli.cwd, stderr=subprocess.PIPE, text=True
            )
            for cli in (other, second)
        ]
        said = [up.communicate()[1] for up in ups]
        assert [up.returncode for up in ups] == [0, 0], said
        nodes = [cli.json("status")["nodes"][0] for cli in (other, second)]
        assert [node["ready"] for node in nodes] == [True, True]
        assert len({node["address"] for node in nodes}) == 2
    finally:
        second("down")


def test_a_worker_is_added_and_a_removed_one_is_made_again(other: Cli) -> None:
    other.json("up", "--workers", "1", "--timing", "drill")
    result = other.json("up", "--workers", "2", "--timing", "drill")
    assert [node["ready"] for node in result["nodes"]] == [True] * 3
    podman("kill", f"{other.lab}-cp-1")
    podman("rm", "--force", f"{other.lab}-worker-1")
    assert [node["power"] for node in other.json("status")["nodes"]] == ["off", "gone", "on"]
    (left,) = other.json("recover", code=1)["leftovers"]
    assert left.startswith(f"{other.lab}-worker-1: the machine is gone")
    result = other.json("up", "--workers", "2", "--timing", "drill")
    assert [node["ready"] for node in result["nodes"]] == [True] * 3


def _playbook(inventory_file: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config())}
    return subprocess.run(
        [str(PLAYBOOK), "-i", str(inventory_file), str(paths.playbook(name)), *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
