"""What lab_check says of an inventory: the filter alone, and once Ansible with the whole role."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl import paths

ROOT = Path(__file__).parents[2]
NETWORKS = {"pods": "10.244.0.0/16", "services": "10.96.0.0/16"}
Hosts = dict[str, dict[str, Any]]


def machine(number: int, **more: object) -> dict[str, Any]:
    return {"node_address": f"192.0.2.{number}", "node_pod_subnet": f"10.244.{number}.0/24", **more}


def ask(
    hosts: Hosts, groups: dict[str, list[str]], networks: dict[str, str] | None = None, cni: str = "routed"
) -> list[str]:
    file = ROOT / "roles" / "lab_check" / "filter_plugins" / "lab_check.py"
    spec = importlib.util.spec_from_file_location("lab_check", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.FilterModule().filters()["lab_check_problems"](hosts, groups, networks or NETWORKS, cni)
    return found


def ask_of(networks: dict[str, str] | None = None, cni: str = "routed", **hosts: dict[str, Any]) -> list[str]:
    """Of one control plane `a` and workers."""
    return ask(hosts, {"control_planes": ["a"], "workers": [name for name in hosts if name != "a"]}, networks, cni)


def play(folder: Path, playbook: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on hosts.yml of `folder`."""
    program = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.run(
        [program, "-i", folder / "hosts.yml", playbook, *words],
        env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_inventory_that_makes_sense() -> None:
    assert ask_of(a=machine(1), b=machine(2)) == []
    assert ask({"a": machine(1)}, {"control_planes": ["a"]}) == [], "nobody needs workers"


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"workers": ["a"]}, "The inventory has no host in the group control_planes: a cluster needs one."),
        ({"control_planes": ["a", "b"]}, "2 control planes: etcd needs an odd number of members."),
        ({"control_planes": ["a"], "workers": ["a", "b"]}, "In both control_planes and workers: a."),
        (
            {"control_planes": ["a"], "worker": ["b"]},
            "The group worker (b) is none that the playbooks know: is workers meant?",
        ),
        (
            {"control_planes": ["a"], "kube_nodes": ["a", "b"]},
            "The group kube_nodes (b) is none that the playbooks know: is workers meant?",
        ),
        (
            {"Control-Plane": ["a"], "workers": ["b"]},
            "The group Control-Plane (a) is none that the playbooks know: is control_planes meant?",
        ),
    ],
)
def test_groups_that_make_no_cluster(groups: dict[str, list[str]], said: str) -> None:
    assert said in ask({"a": machine(1), "b": machine(2)}, groups)


def test_groups_of_other_purpose_are_nobodys_business() -> None:
    hosts = {"a": machine(1), "b": machine(2), "c": machine(3)}
    groups = {"control_planes": ["a"], "workers": ["b"], "nodes": ["a", "b"], "databases": ["c"], "ungrouped": []}
    assert ask(hosts, groups) == []


def test_addresses() -> None:
    assert ask_of(a=machine(1), b=machine(2, node_address="192.0.2.1")) == [
        "a and b have the same node_address: 192.0.2.1."
    ]
    assert ask_of(a=machine(1), b=machine(2, node_address="")) == [
        "b has no node_address: inventories/README.md says what it is."
    ]
    assert ask_of(a=machine(1, node_address="one.example"))[0].startswith("The node_address of a is wrong: ")
    assert ask_of(a=machine(1, node_address="10.96.0.7")) == [
        "The address of a, 10.96.0.7, is in the network of Services, 10.96.0.0/16."
    ]


def test_subnets_of_pods() -> None:
    assert ask_of(a=machine(1), b=machine(2, node_pod_subnet="10.244.0.0/22")) == [
        "The pod subnets of a (10.244.1.0/24) and b (10.244.0.0/22) overlap."
    ]
    assert ask_of(a=machine(1, node_pod_subnet="10.9.0.0/24")) == [
        "The pod subnet of a, 10.9.0.0/24, is not in the network of pods, 10.244.0.0/16."
    ]
    assert ask_of(a=machine(1, node_pod_subnet="10.244.1.1/24"))[0].startswith("The node_pod_subnet of a is wrong")
    bare = machine(1)
    del bare["node_pod_subnet"]
    for cni in ("routed", "vxlan"):
        assert ask_of(a=bare, cni=cni)[0].startswith("a has no node_pod_subnet")
    assert ask_of(a=bare, cni="none") == [], "another network hands them out itself"


def test_networks() -> None:
    both = {"pods": "10.96.0.0/12", "services": "10.96.0.0/16"}
    assert "The networks of pods (10.96.0.0/12) and of Services (10.96.0.0/16) overlap." in ask_of(both, a=machine(1))
    wrong = {"pods": "10.244.0.0/33", "services": "10.96.0.0/16"}
    assert ask_of(wrong, a=machine(1))[0].startswith("lab_pod_network is no network: ")


BOTH = {"pods": "10.244.0.0/16,fd00:10:244::/56", "services": "10.96.0.0/16,fd00:10:96::/112"}


def second(number: int, **more: object) -> dict[str, Any]:
    """What a machine has with two families of addresses."""
    subnets = f"10.244.{number}.0/24,fd00:10:244:{number}::/64"
    return machine(number, **{"node_second_address": f"fd00::{number}", "node_pod_subnet": subnets, **more})


def test_two_families_of_addresses() -> None:
    assert ask_of(BOTH, a=second(1), b=second(2)) == []
    assert ask_of(BOTH, a=machine(1)) == [
        "a has no node_second_address: inventories/README.md says what it is.",
        "The node_pod_subnet of a has not one subnet of each of 10.244.0.0/16, fd00:10:244::/56.",
    ]
    assert ask_of(BOTH, a=second(1, node_second_address="192.0.2.9")) == [
        "The node_second_address of a, 192.0.2.9, is not of the family of fd00:10:244::/56, as its pods are."
    ]
    overlap = "The pod subnets of a (fd00:10:244:1::/64) and b (fd00:10:244:1::/64) overlap."
    assert ask_of(BOTH, a=second(1), b=second(2, node_pod_subnet="10.244.2.0/24,fd00:10:244:1::/64")) == [overlap]
    same = {**BOTH, "services": "10.96.0.0/16"}
    said = "lab_pod_network and lab_service_network are not of the same families, IPv4 and IPv6, in one order."
    assert said in ask_of(same, a=second(1))
    twice = {**BOTH, "pods": "10.244.0.0/16,10.245.0.0/16"}
    assert "lab_pod_network has two networks of one family: 10.244.0.0/16,10.245.0.0/16." in ask_of(twice, a=second(1))


def test_ipv6_alone() -> None:
    networks = {"pods": "fd00:10:244::/56", "services": "fd00:10:96::/112"}
    six = machine(1, node_address="fd00::1", node_pod_subnet="fd00:10:244:1::/64")
    assert ask_of(networks, a=six) == []
    assert ask_of(networks, a=machine(1, node_pod_subnet="fd00:10:244:1::/64")) == [
        "The node_address of a, 192.0.2.1, is not of the family of fd00:10:244::/56, as its pods are."
    ]
    assert ask_of(networks, a={**six, "node_address": "fd00:10:96::7"}) == [
        "The address of a, fd00:10:96::7, is in the network of Services, fd00:10:96::/112."
    ]


def test_names_that_no_node_can_have() -> None:
    assert ask({"A_1": machine(1)}, {"control_planes": ["A_1"]})[0].startswith("A_1 cannot be the name of a node")


def test_the_playbook_says_everything_at_once_and_touches_no_machine(tmp_path: Path) -> None:
    tree = {
        "control_planes": {"hosts": {"a": machine(1), "b": machine(1)}},
        "minions": {"hosts": {"c": machine(3, ansible_host="192.0.2.250")}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(tree))
    done = play(tmp_path, paths.playbook("up.yml"))
    assert done.returncode == 2
    for sentence in ("odd number of members", "have the same node_address", "overlap", "is workers meant?"):
        assert sentence in done.stdout
    assert "unreachable=0" in done.stdout


@pytest.mark.parametrize(
    ("playbook", "said"),
    [
        ("prepare.yml", "The inventory has no host in the group control_planes"),
        ("egress.yml", "The inventory has no host in the group control_planes"),
        ("reset.yml", "The groups control_planes and workers are empty"),
    ],
)
def test_the_other_playbooks_refuse_what_they_cannot_use(playbook: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("masters: {hosts: {a: {ansible_host: 192.0.2.250}}}")
    done = play(tmp_path, paths.playbook(playbook))
    assert done.returncode == 2
    assert said in done.stdout


def test_a_worker_cannot_join_without_the_control_plane_that_invites_it(tmp_path: Path) -> None:
    """As with --limit WORKER: the invitation of the first control plane is not there."""
    tree = {"control_planes": {"hosts": {"a": machine(1)}}, "workers": {"hosts": {"b": machine(2)}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(tree))
    tasks = [{"ansible.builtin.include_role": {"name": "worker"}}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "workers", "gather_facts": False, "tasks": tasks}]))
    done = play(tmp_path, tmp_path / "play.yml", "--connection", "local")
    assert done.returncode == 2
    assert "--limit a,b" in done.stdout


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "inventories").glob("*/hosts.yml")))
def test_examples_make_sense(name: str) -> None:
    tree = yaml.safe_load((ROOT / "inventories" / name / "hosts.yml").read_text())["all"]["children"]
    groups = {group: list(tree[group]["hosts"]) for group in tree}
    hosts = {name: variables for group in tree.values() for name, variables in group["hosts"].items()}
    assert ask(hosts, groups) == []


@pytest.mark.parametrize("name", ["up.yml", "prepare.yml", "egress.yml", "reset.yml"])
def test_each_playbook_says_how_it_is_used(name: str) -> None:
    head = paths.playbook(name).read_text().partition("- name:")[0]
    assert "\n#   ansible-playbook -i inventories/three-hosts" in head
