"""What `lab_slow_machine` makes of kubeadm's configuration and patches: the roles' own templates, by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl import paths

PLAY = """
- hosts: {machine}
  gather_facts: false
  tasks:
    - ansible.builtin.include_vars: {roles}/{role}/defaults/main.yml
    - ansible.builtin.include_vars: {roles}/{role}/vars/main.yml
    - ansible.builtin.set_fact: {{node_settings_seen: {{stdout: ""}}}}
    - ansible.builtin.copy: {{content: "{content}", dest: "{out}", mode: "0600"}}
"""
INVITATION = {"token": "a.b", "key": "c"}
STATIC_PODS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


def rendered(
    folder: Path, role: str, content: str, *, machine: str = "cp-1", control_planes: int = 1, slow: bool
) -> str:
    """What `content`, a template, is on `machine` of such a lab."""
    names = [f"cp-{number}" for number in range(1, control_planes + 1)]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "node_address": "192.0.2.10"}
    groups = {"control_planes": names, "workers": ["worker-1"]}
    variables = {
        "lab_bundle": str(folder),
        "lab_slow_machine": slow,
        "node_pod_subnet": "10.244.0.0/24",
        "__control_plane_invitation": INVITATION,
        "__worker_invitation": INVITATION,
    }
    refs = [f"registry.example/{name}:1" for name in ("etcd", "coredns/coredns")]
    manifest = {"kubernetes": "1.37.2", "images": [{"ref": ref} for ref in refs]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    tree = {name: {"hosts": dict.fromkeys(hosts, local)} for name, hosts in groups.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": variables, "children": tree}}))
    (folder / "templates").unlink(missing_ok=True)
    (folder / "templates").symlink_to(paths.roles() / role / "templates")
    play = PLAY.format(machine=machine, role=role, roles=paths.roles(), content=content, out=folder / "out")
    (folder / "play.yml").write_text(play)
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "out").read_text()


def kubeadm(folder: Path, *, control_planes: int = 1, slow: bool) -> dict[str, dict[str, Any]]:
    """The documents of kubeadm.yml, by kind."""
    content = "{{ lookup('template', 'kubeadm.yml.j2') }}"
    text = rendered(folder, "control_plane", content, control_planes=control_planes, slow=slow)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def arguments(of: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in of.get("extraArgs", [])}


def test_kubeadm_is_patient_with_a_slow_machine(tmp_path: Path) -> None:
    documents = kubeadm(tmp_path, slow=True)
    assert documents["InitConfiguration"]["timeouts"]["controlPlaneComponentHealthCheck"] == "15m"
    cluster = documents["ClusterConfiguration"]
    assert arguments(cluster["etcd"]["local"]) == {"heartbeat-interval": "1000", "election-timeout": "10000"}
    for component in ("controllerManager", "scheduler"):
        assert arguments(cluster[component])["leader-elect"] == "false", "there is nobody else"
    assert documents["KubeletConfiguration"]["runtimeRequestTimeout"] == "15m"


def test_three_slow_control_planes_elect_leaders_slowly(tmp_path: Path) -> None:
    found = arguments(kubeadm(tmp_path, control_planes=3, slow=True)["ClusterConfiguration"]["scheduler"])
    assert "leader-elect" not in found
    lease, renew, retry = (
        int(found[f"leader-elect-{name}"][:-1]) for name in ("lease-duration", "renew-deadline", "retry-period")
    )
    assert lease > renew > 1.2 * retry, "client-go's rule"


def test_any_other_machine_is_as_kubeadm_has_it(tmp_path: Path) -> None:
    documents = kubeadm(tmp_path, slow=False)
    assert "timeouts" not in documents["InitConfiguration"]
    assert "extraArgs" not in documents["ClusterConfiguration"]["etcd"]["local"]
    assert arguments(documents["ClusterConfiguration"]["scheduler"]) == {"profiling": "false"}


@pytest.mark.parametrize("role", ["control_plane", "worker"])
def test_machines_that_join_are_patient_too(tmp_path: Path, role: str) -> None:
    content = "{{ lookup('template', 'join.yml.j2') }}"
    slow, usual = (yaml.safe_load(rendered(tmp_path, role, content, slow=slow)) for slow in (True, False))
    assert slow["timeouts"]["tlsBootstrap"] == "15m"
    assert ("patches" in slow) == (role == "control_plane")
    assert not {"timeouts", "patches"} & set(usual)


def patches(folder: Path, machine: str, *, slow: bool) -> dict[str, dict[str, Any]]:
    """What is written for kubeadm to apply, by the file's name."""
    content = "{{ __node_settings_files | to_json }}"
    files = json.loads(rendered(folder, "node_settings", content, machine=machine, slow=slow))
    return {Path(file["path"]).name: yaml.safe_load(file["content"]) for file in files if "/patches/" in file["path"]}


def test_slow_control_planes_are_not_restarted_for_a_late_answer(tmp_path: Path) -> None:
    found = patches(tmp_path, "cp-1", slow=True)
    dns = found.pop("corednsdeployment1+strategic.yaml")["spec"]
    assert dns["replicas"] == 1
    assert dns["template"]["spec"]["containers"][0]["readinessProbe"]["timeoutSeconds"] == 60
    containers = {name: patch["spec"]["containers"][0] for name, patch in found.items()}
    assert {container["name"] for container in containers.values()} == STATIC_PODS
    for name, container in containers.items():
        assert name == f"{container['name']}1+strategic.yaml", "kubeadm takes the target from it"
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["failureThreshold"] == 500
            assert container[probe]["timeoutSeconds"] == 60


def test_no_other_machine_gets_them(tmp_path: Path) -> None:
    assert patches(tmp_path, "worker-1", slow=True) == {}
    assert patches(tmp_path, "cp-1", slow=False) == {}


def test_they_come_after_those_that_every_lab_has() -> None:
    """kubeadm sorts by name, and takes whatever the last one says."""
    usual = paths.roles() / "kube_packages" / "files" / "patches"
    for path in usual.iterdir():
        later = path.name.replace("+", "1+")
        assert sorted([later, path.name]) == [path.name, later]
