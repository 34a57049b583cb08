"""What kubeadm is told of addresses, rendered by Ansible from the role's own variables."""

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

ROLES = Path(__file__).parents[2] / "roles"
IMAGES = [{"ref": f"registry.k8s.io/{name}:v1"} for name in ("etcd", "coredns/coredns")]
TASKS = [
    {
        "ansible.builtin.copy": {"dest": "{{ playbook_dir }}/made", "content": "{{ __control_plane_kubeadm }}"},
        "when": "inventory_hostname == 'one'",
    },
    {
        "ansible.builtin.copy": {
            "dest": "{{ playbook_dir }}/guests",
            "content": "{{ __control_plane_guests | to_json }}",
        },
        "when": "inventory_hostname == 'one'",
    },
]


def rendered(folder: Path, hosts: dict[str, dict[str, str]], variables: dict[str, str]) -> tuple[list[Any], list[str]]:
    """The documents of kubeadm.yml on the control plane `one`, and whom it invites."""
    (folder / "manifest.json").write_text(json.dumps({"kubernetes": "1.37.2", "images": IMAGES}))
    # As in the role, whose templates are looked for beside the playbook here.
    (folder / "templates").symlink_to(ROLES / "control_plane" / "templates")
    seen = {"ansible.builtin.set_fact": {"node_settings_seen": {"stdout": ""}}}
    files = [str(ROLES / "control_plane" / name / "main.yml") for name in ("defaults", "vars")]
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "vars_files": files, "tasks": [seen, *TASKS]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    groups = {
        "control_planes": {"hosts": {"one": hosts["one"]}},
        "workers": {"hosts": {"two": hosts["two"]}},
    }
    more = {"lab_bundle": str(folder), "ansible_python_interpreter": sys.executable, **variables}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": more, "children": groups}}))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(yaml.safe_load_all((folder / "made").read_text())), json.loads((folder / "guests").read_text())


@pytest.mark.parametrize(
    ("addresses", "networks", "endpoint", "names"),
    [
        (("192.0.2.{}",), ("10.244.0.0/16", "10.96.0.0/16"), "192.0.2.1:6443", []),
        (
            ("192.0.2.{}", "fd00::{}"),
            ("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"),
            *("192.0.2.1:6443", ["fd00::1"]),
        ),
        (("fd00::{}",), ("fd00:10:244::/56", "fd00:10:96::/112"), "[fd00::1]:6443", []),
    ],
    ids=["ipv4", "dual", "ipv6"],
)
def test_addresses(
    addresses: tuple[str, ...], networks: tuple[str, str], endpoint: str, names: list[str], tmp_path: Path
) -> None:
    hosts = {
        name: dict(
            zip(("node_address", "node_second_address"), (one.format(number) for one in addresses), strict=False)
        )
        for number, name in enumerate(("one", "two"), start=1)
    }
    variables = dict(zip(("lab_pod_network", "lab_service_network"), networks, strict=True))
    (init, cluster, *_), guests = rendered(tmp_path, hosts, variables)
    assert init["localAPIEndpoint"]["advertiseAddress"] == addresses[0].format(1)
    arguments = {entry["name"]: entry["value"] for entry in init["nodeRegistration"]["kubeletExtraArgs"]}
    assert arguments["node-ip"] == ",".join(one.format(1) for one in addresses)
    assert cluster["controlPlaneEndpoint"] == endpoint
    assert cluster["networking"] == {"podSubnet": networks[0], "serviceSubnet": networks[1]}
    assert cluster["apiServer"]["certSANs"] == names
    assert guests == ["=".join(["two", *(one.format(2) for one in addresses)])]
