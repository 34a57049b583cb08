"""What `lab_slow_machine` makes of kubeadm's configuration and patches: the roles' own templates, by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl import paths

ROLES = ("control_plane", "worker", "node_settings")
TEMPLATES = {
    "kubeadm": "control_plane/templates/kubeadm.yml.j2",
    "join-control_plane": "control_plane/templates/join.yml.j2",
    "join-worker": "worker/templates/join.yml.j2",
}
STATIC_PODS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


@dataclass(frozen=True)
class Rendered:
    """What the roles would write on such a lab's machines."""

    folder: Path

    def text(self, name: str, machine: str = "cp-1") -> str:
        return (self.folder / machine / name).read_text()

    def kubeadm(self) -> dict[str, dict[str, Any]]:
        """The documents of kubeadm.yml, by kind."""
        return {document["kind"]: document for document in yaml.safe_load_all(self.text("kubeadm"))}

    def patches(self, machine: str) -> dict[str, dict[str, Any]]:
        """What is written for kubeadm to apply, by the file's name."""
        files = json.loads(self.text("files", machine))
        return {
            Path(file["path"]).name: yaml.safe_load(file["content"]) for file in files if "/patches/" in file["path"]
        }


def render(folder: Path, *, slow: bool, control_planes: int = 1) -> Rendered:
    """Have Ansible fill the templates in."""
    invitation = {"token": "a.b", "key": "c"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "node_address": "192.0.2.10"}
    names = [f"cp-{number}" for number in range(1, control_planes + 1)]
    groups = {"control_planes": names, "workers": ["worker-1"]}
    variables = {
        "lab_bundle": str(folder),
        "lab_slow_machine": slow,
        "node_pod_subnet": "10.244.0.0/24",
        "__control_plane_invitation": invitation,
        "__worker_invitation": invitation,
    }
    images = [{"ref": f"registry.example/{name}:v1"} for name in ("etcd", "coredns/coredns")]
    (folder / "manifest.json").write_text(json.dumps({"kubernetes": "1.37.2", "images": images}))
    tree = {name: {"hosts": dict.fromkeys(hosts, local)} for name, hosts in groups.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": variables, "children": tree}}))
    # Where the roles' own lookups find them.
    (folder / "templates").symlink_to(paths.roles() / "node_settings" / "templates")
    contents = {name: f"{{{{ lookup('template', '{paths.roles()}/{path}') }}}}" for name, path in TEMPLATES.items()}
    contents["files"] = "{{ __node_settings_files | to_json }}"
    known = [f"{paths.roles()}/{role}/{kind}/main.yml" for role in ROLES for kind in ("defaults", "vars")]
    tasks: list[dict[str, Any]] = [{"ansible.builtin.set_fact": {"node_settings_seen": {"stdout": ""}}}]
    for name, content in contents.items():
        out = f"{folder}/{{{{ inventory_hostname }}}}/{name}"
        tasks.append({"node_files": {"files": [{"path": out, "content": content}]}})
    play = {"hosts": "cp-1:worker-1", "gather_facts": False, "vars_files": known, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(paths.ansible_config()),
            "ANSIBLE_FILTER_PLUGINS": str(paths.roles() / "node_settings" / "filter_plugins"),
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Rendered(folder)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("slow"), slow=True)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("usual"), slow=False)


def arguments(of: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in of.get("extraArgs", [])}


def test_kubeadm_is_patient_with_a_slow_machine(slow: Rendered) -> None:
    documents = slow.kubeadm()
    assert documents["InitConfiguration"]["timeouts"]["controlPlaneComponentHealthCheck"] == "15m"
    cluster = documents["ClusterConfiguration"]
    assert arguments(cluster["etcd"]["local"]) == {"heartbeat-interval": "1000", "election-timeout": "10000"}
    for component in ("controllerManager", "scheduler"):
        assert arguments(cluster[component])["leader-elect"] == "false", "there is nobody else"
    assert documents["KubeletConfiguration"]["runtimeRequestTimeout"] == "15m"


def test_three_slow_control_planes_elect_leaders_slowly(tmp_path: Path) -> None:
    documents = render(tmp_path, slow=True, control_planes=3).kubeadm()
    found = arguments(documents["ClusterConfiguration"]["scheduler"])
    assert "leader-elect" not in found
    lease, renew, retry = (
        int(found[f"leader-elect-{name}"][:-1]) for name in ("lease-duration", "renew-deadline", "retry-period")
    )
    assert lease > renew > 1.2 * retry, "client-go's rule"


def test_any_other_machine_is_as_kubeadm_has_it(usual: Rendered) -> None:
    documents = usual.kubeadm()
    assert "timeouts" not in documents["InitConfiguration"]
    assert "extraArgs" not in documents["ClusterConfiguration"]["etcd"]["local"]
    assert arguments(documents["ClusterConfiguration"]["scheduler"]) == {"profiling": "false"}


@pytest.mark.parametrize("role", ["control_plane", "worker"])
def test_machines_that_join_are_patient_too(slow: Rendered, usual: Rendered, role: str) -> None:
    patient, plain = (yaml.safe_load(lab.text(f"join-{role}")) for lab in (slow, usual))
    assert patient["timeouts"]["tlsBootstrap"] == "15m"
    assert ("patches" in patient) == (role == "control_plane")
    assert not {"timeouts", "patches"} & set(plain)


def test_slow_control_planes_are_not_restarted_for_a_late_answer(slow: Rendered) -> None:
    found = slow.patches("cp-1")
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


def test_no_other_machine_gets_them(slow: Rendered, usual: Rendered) -> None:
    assert slow.patches("worker-1") == {}
    assert usual.patches("cp-1") == {}


def test_they_come_after_those_that_every_lab_has() -> None:
    """kubeadm sorts by name, and takes whatever the last one says."""
    usual = paths.roles() / "kube_packages" / "files" / "patches"
    for path in usual.iterdir():
        later = path.name.replace("+", "1+")
        assert sorted([later, path.name]) == [path.name, later]
