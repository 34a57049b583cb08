"""What `labctl up` made, looked at from outside."""

from __future__ import annotations

import json
import socket
import stat
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Cli


def test_status_sees_machines_and_nodes(lab: Cli) -> None:
    seen = lab.json("status")
    assert [(node["power"], node["ready"]) for node in seen["nodes"]] == [("on", True)] * 3
    assert seen["broken"] == []


def test_every_node_runs_the_version_that_was_asked_for(lab: Cli) -> None:
    version = lab.json("status")["kubernetes"]
    nodes = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {f"v{version}"}


def test_the_live_flags_are_those_of_the_timing(lab: Cli) -> None:
    flags = lab("ssh", "cp-1", "--", "cat", "/etc/kubernetes/manifests/kube-controller-manager.yaml")
    assert "--node-monitor-grace-period=10s" in flags


def test_keys_are_for_their_owner_alone(lab: Cli, home: Path) -> None:
    folder = home / "labs" / lab.lab
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("id_ed25519", "kubeconfig", "lab.json", "inventory.yml"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_machines_differ_where_they_must(lab: Cli) -> None:
    names = [node["name"] for node in lab.json("status")["nodes"]]
    for file in ("/etc/machine-id", "/var/lib/labctl/ssh_host_ed25519_key", "/etc/hostname"):
        assert len({lab("ssh", name, "--", "cat", file) for name in names}) == 3, file


def test_machines_share_what_never_changes(lab: Cli, home: Path) -> None:
    blobs = "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"
    machines = [folder / blobs for folder in (home / "labs" / lab.lab / "machines").iterdir()]
    largest = max(machines[0].iterdir(), key=lambda path: path.stat().st_size)
    assert {(machine / largest.name).stat().st_ino for machine in machines} == {largest.stat().st_ino}


def test_what_a_secret_says_is_not_in_etcds_files(lab: Cli) -> None:
    def files_with(word: str) -> str:
        return lab("ssh", "cp-1", "--", "grep", "-rlF", word, "/var/lib/etcd", code=0 if word == "in-the-clear" else 1)

    try:
        lab.kubectl("create", "configmap", "looked-for", "--from-literal=word=in-the-clear")
        lab.kubectl("create", "secret", "generic", "looked-for", "--from-literal=word=nobodys-business")
        assert files_with("in-the-clear"), "grep finds what is there"
        assert files_with("nobodys-business") == ""
        assert "nobodys-business" not in lab("ssh", "cp-1", "--", "cat", "/var/log/kubernetes/audit.log")
    finally:
        lab.kubectl("delete", "configmap/looked-for", "secret/looked-for", "--ignore-not-found")


def test_nothing_of_the_lab_listens_on_the_host(lab: Cli) -> None:
    for port in (6443, 10250, 2379, 30080):
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is open on the host"


def test_ssh_gives_the_commands_exit_code(lab: Cli) -> None:
    assert lab("ssh", "worker-1", "--", "hostname").strip() == f"{lab.lab}-worker-1"
    lab("ssh", "worker-1", "--", "exit", "7", code=7)
    lab("ssh", "worker-9", code=2)


def test_kubeconfig_is_merged(lab: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(target))
    lab("kubeconfig", "--merge")
    assert yaml.safe_load(target.read_text())["current-context"] == f"labctl-{lab.lab}"
    lab.kubectl("--kubeconfig", str(target), "get", "nodes")


def test_logs_hold_journals_and_no_keys(lab: Cli, tmp_path: Path) -> None:
    archive = lab.json("logs", "--into", str(tmp_path))["archive"]
    with tarfile.open(archive) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file:
                text = file.read()
                assert b"PRIVATE KEY" not in text, member.name
                assert b"client-key-data: " not in text, member.name
    for wanted in (f"{lab.lab}-cp-1/journal.log", "pods.txt", "doctor.txt", "lab.json"):
        assert wanted in names


def test_a_lab_is_not_changed_in_place_behind_the_users_back(lab: Cli) -> None:
    lab("up", "--timing", "fast", code=2)
    assert lab.last is not None
    assert "timing is drill, asked for fast" in lab.last.stderr


def test_events_are_always_on_disk(lab: Cli, home: Path) -> None:
    run = min(home.glob(f"runs/*-up-{lab.lab}"))
    kinds = {json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()}
    assert {"StepStarted", "StepFinished", "TaskStarted", "TaskFinished"} <= kinds
