"""What the cluster says of its nodes."""

from __future__ import annotations

import ipaddress
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look
from labctl.verify.gather import Objects, awaits_first_lease, fault_marks, lease_age, node_leases


def by_name(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in sorted(objects, key=lambda item: item["metadata"]["name"])}


def is_below(limit: float, seen: float | None) -> bool:
    return seen is not None and seen < limit


@check(
    "CLUSTER-001",
    "every machine is a node, and Ready, and there are no others",
    why="A node that is missing or NotReady runs no pods: the lab has less room and less redundancy than it seems.",
    fix="labctl status: is its machine on? labctl recover switches it on; labctl kubectl -- describe node NAME says "
    "why; labctl up makes a missing one join; of a machine that is no more: labctl kubectl -- delete node NAME",
)
def test_nodes_are_ready(cluster: Cluster, objects: Objects, expect: Expect) -> None:
    ready = {}
    for name, node in by_name(objects["nodes"]).items():
        conditions = {entry["type"]: entry["status"] for entry in node["status"].get("conditions", [])}
        ready[name] = conditions.get("Ready")
    expect(
        "Ready", dict.fromkeys(sorted(cluster.nodes), "True"), {name: ready.get(name) for name in sorted(cluster.nodes)}
    )
    expect.nothing("nodes that the inventory does not have", sorted(ready.keys() - cluster.nodes.keys()))


@check(
    "CLUSTER-002",
    "every node has the address of its machine",
    why="A kubelet that found another address by itself (a second network card, IPv6) is reached by nobody there: "
    "logs and exec fail, and routes to its pods lead elsewhere.",
    fix="node-ip in /var/lib/kubelet/kubeadm-flags.env is to be node_address; then systemctl restart kubelet",
)
def test_addresses(cluster: Cluster, objects: Objects, expect: Expect) -> None:
    seen = {
        name: [entry["address"] for entry in node["status"].get("addresses", []) if entry["type"] == "InternalIP"]
        for name, node in by_name(objects["nodes"]).items()
        if name in cluster.nodes
    }
    expect("addresses", {name: cluster.addresses(name) for name in sorted(cluster.nodes)}, seen)


@check(
    "CLUSTER-003",
    "no node is marked as faulty or closed, and none lacks a taint of its inventory",
    why="Kubernetes marks a faulty node with a taint that keeps pods away (NoSchedule) or drives them off "
    "(NoExecute); without the taints that were asked for, pods land where they should not. Further taints are their "
    "setter's business.",
    fix="labctl kubectl -- describe node NAME; after kubectl cordon: labctl kubectl -- uncordon NAME; labctl up sets "
    "a taint that is missing",
)
def test_taints(cluster: Cluster, objects: Objects, expect: Expect) -> None:
    groups = cluster.variable("groups")
    wanted = {}
    for name in cluster.nodes:
        asked = [f"{taint['key']}:{taint['effect']}" for taint in cluster.variables[name].get("node_taints") or []]
        if name in cluster.control_planes and groups.get("workers"):
            asked.append("node-role.kubernetes.io/control-plane:NoSchedule")
        wanted[name] = asked
    for name, node in by_name(objects["nodes"]).items():
        if name not in cluster.nodes:
            continue  # a stranger, which CLUSTER-001 names
        taints = [f"{taint['key']}:{taint['effect']}" for taint in node["spec"].get("taints", [])]
        expect.nothing(f"marks of a fault on {name}", fault_marks(node))
        expect.nothing(f"missing taints of {name}", [taint for taint in wanted.get(name, []) if taint not in taints])


@check(
    "CLUSTER-004",
    "every kubelet renews its lease",
    why="The lease is the heartbeat: when it is older than the grace period, the node is called dead and loses its "
    "pods.",
    fix="journalctl -u kubelet on the node; the way from there to the control plane's port 6443",
)
def test_node_leases(cluster: Cluster, looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    leases, now = node_leases(objects), looks[cluster.first].now
    young = [node["metadata"]["name"] for node in objects["nodes"] if awaits_first_lease(node, leases, now)]
    for name in sorted(cluster.nodes):
        if name in young:
            expect(f"first lease of {name}", "to come with its next heartbeat", "to come with its next heartbeat")
            continue
        lease = leases.get(name, {})
        age = lease_age(lease, now)
        lasts = lease.get("spec", {}).get("leaseDurationSeconds", 0)
        expect.within(
            f"age of {name}'s lease in seconds",
            f"below {lasts}",
            None if age is None else round(age),
            partial(is_below, lasts),
        )


@check(
    "CLUSTER-005",
    "all kubelets and API servers are of the lab's version",
    why="What was tested together are parts of one version; a kubelet must not be newer than the API server "
    "(https://kubernetes.io/releases/version-skew-policy/).",
    fix="labctl up, which installs what the bundle has; by hand: the kubelet of the bundle, systemctl restart kubelet",
)
def test_versions(
    cluster: Cluster, control_planes: list[str], looks: dict[str, Look], objects: Objects, expect: Expect
) -> None:
    servers = {name: looks[name].answers["/version"].json()["gitVersion"] for name in control_planes}
    manifest = Path(cluster.variable("lab_bundle")) / "manifest.json"
    # By hand the bundle is named on the command line of ansible-playbook: then parts must agree with each other.
    is_known = bool(cluster.variable("lab_bundle")) and manifest.is_file()
    wanted = "v" + json.loads(manifest.read_text())["kubernetes"] if is_known else servers[cluster.first]
    kubelets = {
        name: node["status"]["nodeInfo"]["kubeletVersion"]
        for name, node in by_name(objects["nodes"]).items()
        if name in cluster.nodes
    }
    expect("API servers", dict.fromkeys(servers, wanted), servers)
    expect("kubelets", dict.fromkeys(kubelets, wanted), kubelets)


def overlap(some: list[Any], others: list[Any]) -> bool:
    """Whether one of these networks has addresses of one of those."""
    return any(one.overlaps(other) for one in some for other in others if one.version == other.version)


@check(
    "CLUSTER-006",
    "every machine has pod addresses of its own, and its pods have them",
    why="Two machines with the same addresses give them to two pods; nothing finds a pod at an address of another "
    "machine's.",
    fix="node_pod_subnet in the inventory; systemctl restart containerd on the node, then delete the pod",
)
def test_pod_subnets(cluster: Cluster, objects: Objects, expect: Expect) -> None:
    if cluster.variable("lab_cni", "routed") == "none":
        pytest.skip("lab_cni is none: the network add-on hands out addresses")
    subnets = {
        name: [ipaddress.ip_network(one) for one in cluster.variables[name]["node_pod_subnet"].split(",")]
        for name in cluster.nodes
    }
    names = sorted(subnets)
    twice = [f"{a} and {b}" for a in names for b in names if a < b and overlap(subnets[a], subnets[b])]
    expect.nothing("machines with the same pod addresses", twice)
    strays = [
        f"{pod['metadata']['name']} {entry['ip']} on {pod['spec']['nodeName']}"
        for pod in objects["pods"]
        if not pod["spec"].get("hostNetwork") and pod["status"]["phase"] == "Running"
        for entry in pod["status"].get("podIPs", [])
        if not any(ipaddress.ip_address(entry["ip"]) in subnet for subnet in subnets[pod["spec"]["nodeName"]])
    ]
    expect.nothing("pods with another machine's address", strays)
