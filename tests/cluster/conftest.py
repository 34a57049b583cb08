"""What tests of the cluster share. Run them with `labctl verify`, or with plain pytest:

pytest tests/cluster --hosts='ansible://all' --ansible-inventory=INVENTORY

The quick ones look at what two fixtures gather in one round trip to every node: `looks` and `objects`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.verify.cluster import Cluster, Look
from labctl.verify.probes import Probes

OBJECTS = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "events": "/api/v1/events",
    "leases": "/apis/coordination.k8s.io/v1/leases",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "deployments": "/apis/apps/v1/deployments",
}
CLOSED = ("/api", "/api/v1/secrets", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/metrics", "/openapi/v2")
"""Nobody's business who does not say who he is."""


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of the inventory."""
    return Cluster.of(request.config.option.ansible_inventory)


@pytest.fixture(scope="session")
def program() -> str:
    """What `Look.at` runs on a node."""
    return Path(__file__).with_name("on_node.py").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def looks(cluster: Cluster, program: str) -> dict[str, Look]:
    """Every node from inside, and what it was answered."""
    return cluster.each(lambda node: Look.at(cluster.nodes[node], program, _questions(cluster, node)))


@pytest.fixture(scope="session")
def objects(cluster: Cluster, looks: dict[str, Look]) -> dict[str, list[dict[str, Any]]]:
    """All objects of the kinds in OBJECTS."""
    if looks[cluster.first].answers[f"ready {cluster.first}"].status == 0:
        pytest.skip(f"the API server of {cluster.first} gives no answer: see CLUSTER-007")
    return {kind: looks[cluster.first].answers[kind].json()["items"] for kind in OBJECTS}


def _questions(cluster: Cluster, node: str) -> dict[str, dict[str, Any]]:
    address = cluster.address(node)
    network = ipaddress.ip_network(cluster.variable("lab_service_network", "10.96.0.0/16"))
    dns = {"dns": str(network[10]), "name": "kubernetes.default.svc.cluster.local"}  # the tenth is kubeadm's rule
    asked: dict[str, dict[str, Any]] = {
        "kubelet": {"url": f"https://{address}:10250/pods"},
        "kubelet, read only": {"url": f"http://{address}:10255/pods"},
        "proxy mode": {"url": "http://127.0.0.1:10249/proxyMode"},
        "dns udp": dns,
        "dns tcp": {**dns, "tcp": True},
        **{f"ready {name}": {"url": f"https://{cluster.address(name)}:6443/readyz"} for name in cluster.control_planes},
    }
    if node in cluster.control_planes:
        asked |= _of_control_plane(address)
    if node == cluster.first:
        asked |= {kind: {"url": f"https://{address}:6443{path}", "as": "admin"} for kind, path in OBJECTS.items()}
        asked["default service account"] = _rules_of(address, "system:serviceaccount:default:default")
    return asked


def _of_control_plane(address: str) -> dict[str, dict[str, Any]]:
    api, etcd = f"https://{address}:6443", f"https://{address}:2379"
    rpc = {"as": "etcd", "method": "POST", "body": "{}"}
    return {
        "/version": {"url": f"{api}/version", "as": "admin"},
        **{f"anonymous {path}": {"url": api + path} for path in CLOSED},
        "etcd": {"url": f"{etcd}/health", "as": "etcd"},
        "etcd members": {**rpc, "url": f"{etcd}/v3/cluster/member/list"},
        "etcd status": {**rpc, "url": f"{etcd}/v3/maintenance/status"},
        "anonymous etcd": {"url": f"{etcd}/health"},
        "anonymous etcd peer": {"url": f"https://{address}:2380/version"},
    }


def _rules_of(address: str, user: str) -> dict[str, Any]:
    """What somebody may do in the namespace default, as `kubectl auth can-i --list --as` asks."""
    kind = {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": "default"}}
    return {
        "url": f"https://{address}:6443/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "as": "admin",
        "method": "POST",
        "body": json.dumps(kind),
        "headers": {"Content-Type": "application/json", "Impersonate-User": user},
    }


@pytest.fixture(scope="session")
def probes(cluster: Cluster) -> Iterator[Probes]:
    """The pods of the deep checks. They go whatever happens, and those of a run that was killed before all else."""
    started = Probes(cluster)
    try:
        started.start()
        yield started
    finally:
        started.remove()
