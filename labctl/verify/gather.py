"""What the quick checks of tests/cluster look at, from one round trip to every node."""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from labctl.verify.cluster import Cluster, Json, Look

Objects = dict[str, list[Json]]
T = TypeVar("T")
SLOWLY_S = 60.0
"""What an answer may take on a slow machine."""
SETTLES_S = 20
"""After a start, or a drill, pods and tables need a moment: a lab that is not well is looked at again for so long."""
LEASES_SETTLE_S = 50
"""A kubelet whose API server went away without a word gives up their connection after 45 s: 30 s without a frame, then
15 s without an answer to a ping (k8s.io/apimachinery, pkg/util/net/http.go)."""
FIRST_LEASE_S = 15
"""A kubelet tries to make its lease as it starts, before it has made its node, in vain, and then with its next
heartbeat: by default after 10.4 s at most (k8s.io/component-helpers, apimachinery/lease/controller.go)."""
LEADERS = ("kube-controller-manager", "kube-scheduler")
KINDS = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "events": "/api/v1/events",
    "leases": "/apis/coordination.k8s.io/v1/leases",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "deployments": "/apis/apps/v1/deployments",
    "namespaces": "/api/v1/namespaces",
    "apiservices": "/apis/apiregistration.k8s.io/v1/apiservices",
}
KUBEADMS = {
    **{f"ConfigMap {name}": f"/api/v1/namespaces/kube-system/configmaps/{name}" for name in ("coredns", "kube-proxy")},
    "ConfigMap kubeadm-config": "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
    "ConfigMap kubelet-config": "/api/v1/namespaces/kube-system/configmaps/kubelet-config",
    "ConfigMap cluster-info": "/api/v1/namespaces/kube-public/configmaps/cluster-info",
    "DaemonSet kube-proxy": "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy",
    "Deployment coredns": "/apis/apps/v1/namespaces/kube-system/deployments/coredns",
    "Service kube-dns": "/api/v1/namespaces/kube-system/services/kube-dns",
    **{
        f"ClusterRoleBinding {name}": f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}"
        for name in (
            *("system:coredns", "kubeadm:node-proxier", "kubeadm:kubelet-bootstrap", "kubeadm:get-nodes"),
            *("kubeadm:node-autoapprove-bootstrap", "kubeadm:node-autoapprove-certificate-rotation"),
            "kubeadm:cluster-admins",
        )
    },
}
"""What kubeadm init puts into a cluster, and its parts go by (cmd/kubeadm/app/phases, v1.37.2), with its path."""
TOKENS = "/api/v1/namespaces/kube-system/secrets?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken"
_FAULT = "node.kubernetes.io/"
_FOR_ANOTHER_PROXY = "service.kubernetes.io/service-proxy-name"
"""kube-proxy leaves such Services alone (KEP-2447)."""
_CLOSED_BY_HAND = f"{_FAULT}unschedulable:NoSchedule"
CLOSED = ("/api", "/api/v1/secrets", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/metrics", "/openapi/v2")
"""Nobody's business who does not say who he is."""


@dataclass(frozen=True)
class Gathered:
    """Every node from inside with what it was answered, and the API's objects by kind: none if any are withheld."""

    looks: dict[str, Look]
    objects: Objects | None


class Begun(Generic[T]):
    """Something that is done in the background; who is interrupted does not wait for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        threading.Thread(target=self._do, args=(work,), daemon=True).start()

    def _do(self, work: Callable[[], T]) -> None:
        try:
            self._future.set_result(work())
        except Exception as error:  # noqa: BLE001 (whatever it is, it is for whoever waits)
            self._future.set_exception(error)

    def result(self) -> T:
        """What came of it, or raises what it raised."""
        return self._future.result()


def gather(cluster: Cluster, program: str) -> Gathered:
    """Look at the lab; if it is not well, again for `SETTLES_S`, or `LEASES_SETTLE_S` if all else is."""

    def once() -> Gathered:
        looks = cluster.each(lambda node: Look.at(cluster.nodes[node], program, questions(cluster, node)))
        first = looks[cluster.first]
        if withheld(first):
            return Gathered(looks, None)
        return Gathered(looks, {kind: first.answers[kind].json()["items"] for kind in KINDS})

    return awaited(once, lambda seen: _patience(seen, cluster.first))


def withheld(look: Look) -> list[str]:
    """The kinds of objects that the API did not give, each with what it said instead."""
    return [f"{kind}: {look.answers[kind]}" for kind in KINDS if look.answers[kind].status != HTTPStatus.OK]


def awaited(look: Callable[[], T], patience: Callable[[T], float]) -> T:
    """What `look` sees after the seconds of `patience` that the sight deserves: 0 if it is right."""
    began = time.monotonic()
    while time.monotonic() - began < patience(seen := look()):
        time.sleep(0.5)
    return seen


def _patience(seen: Gathered, first: str) -> float:
    if any(look.is_silent for look in seen.looks.values()):
        return 0  # a machine that is off does not come back by being waited for
    if seen.objects is None or not _is_settled(seen):
        return SETTLES_S
    now = seen.looks[first].now
    leases = node_leases(seen.objects)
    names = [node["metadata"]["name"] for node in seen.objects["nodes"] if not awaits_first_lease(node, leases, now)]
    return LEASES_SETTLE_S if any(name not in leases or is_late(leases[name], now) for name in names) else 0


def node_leases(objects: Objects) -> dict[str, Json]:
    """The leases that kubelets renew, by node."""
    leases = [lease for lease in objects["leases"] if lease["metadata"]["namespace"] == "kube-node-lease"]
    return {lease["metadata"]["name"]: lease for lease in leases}


def awaits_first_lease(node: Json, leases: dict[str, Json], now: float) -> bool:
    """Whether a node has no lease because it is too young: so far its status is its only heartbeat."""
    meta = node["metadata"]
    age = now - datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
    return meta["name"] not in leases and age < FIRST_LEASE_S


def lease_age(lease: Json, now: float) -> float | None:
    """Seconds since the lease was renewed; None if it never was."""
    renewed = lease.get("spec", {}).get("renewTime")
    return now - datetime.fromisoformat(renewed).timestamp() if renewed else None


def is_late(lease: Json, now: float) -> bool:
    """Whether the lease has run out."""
    age = lease_age(lease, now)
    return age is None or age >= lease["spec"]["leaseDurationSeconds"]


def fault_marks(node: Json) -> list[str]:
    """Kubernetes' own taints on a node, as KEY:EFFECT: not-ready, unreachable, memory-pressure, unschedulable ..."""
    taints = node["spec"].get("taints", [])
    return [f"{taint['key']}:{taint['effect']}" for taint in taints if taint["key"].startswith(_FAULT)]


def _is_settled(seen: Gathered) -> bool:
    if seen.objects is None:
        return False
    tables = [set(look.services) for look in seen.looks.values()]
    dns = [look.answers["dns udp"].status for look in seen.looks.values()]
    pods = [is_ready(pod) for pod in our_pods(seen.objects)]
    # A taint goes some time after its reason; but for unschedulable, which is a person's, and stays.
    marks = {mark for node in seen.objects["nodes"] for mark in fault_marks(node)} - {_CLOSED_BY_HAND}
    nodes = [not marks, *(is_ready(node) for node in seen.objects["nodes"])]
    # Who leads takes its lease up again some time after the API server came back.
    now = max(look.now for look in seen.looks.values())
    led = [lease for lease in seen.objects["leases"] if lease["metadata"]["name"] in LEADERS]
    nodes += [not is_late(lease, now) for lease in led if lease["spec"].get("holderIdentity")]
    nodes += [is_available(service) for service in seen.objects["apiservices"]]
    return all(pods + nodes) and set(dns) == {200} and all(addresses(seen.objects) <= table for table in tables)


def is_ready(thing: Json) -> bool:
    """Whether a pod or a node is Ready."""
    return _has(thing, "Ready")


def _has(thing: Json, condition: str) -> bool:
    conditions = thing.get("status", {}).get("conditions", [])
    return any(entry["type"] == condition and entry["status"] == "True" for entry in conditions)


def is_available(service: Json) -> bool:
    """Whether an APIService's server answers; one that the API server itself answers always is."""
    return _has(service, "Available")


def is_ours(meta: Json) -> bool:
    """Whether it belongs to Kubernetes itself, or to what labctl leaves in a lab: no drill's, no probe, no user's."""
    managed = meta.get("labels", {}).get("app.kubernetes.io/managed-by") == "labctl"
    return bool(meta["namespace"] == "kube-system" or (managed and not meta["namespace"].startswith("labctl-")))


def our_pods(objects: Objects) -> list[Json]:
    """Pods that are ours and are to run; one that ended for good has been replaced by whoever made it."""
    live = [pod for pod in objects["pods"] if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    return [pod for pod in live if is_ours(pod["metadata"])]


def addresses(objects: Objects) -> set[str]:
    """Address, protocol and port of each Service, as `Look.services` has them."""
    return {
        f"{address} {port['protocol'].lower()} {port['port']}"
        for service in objects["services"]
        if _FOR_ANOTHER_PROXY not in (service["metadata"].get("labels") or {})
        for address in service["spec"].get("clusterIPs", [])
        if address != "None"
        for port in service["spec"].get("ports", [])
    }


def questions(cluster: Cluster, node: str) -> dict[str, Json]:
    """What `node` asks, by name."""
    address = cluster.host(node)
    network = ipaddress.ip_network(cluster.variable("lab_service_network", "10.96.0.0/16").partition(",")[0])
    dns = {"dns": str(network[10]), "name": "kubernetes.default.svc.cluster.local"}  # the tenth is kubeadm's rule
    asked: dict[str, Json] = {
        "kubelet": {"url": f"https://{address}:10250/pods"},
        "kubelet, read only": {"url": f"http://{address}:10255/pods"},
        "proxy mode": {"url": "http://127.0.0.1:10249/proxyMode"},
        "dns udp": dns,
        "dns tcp": {**dns, "tcp": True},
        **{f"ready {name}": {"url": f"https://{cluster.host(name)}:6443/readyz"} for name in cluster.control_planes},
    }
    if cluster.variable("lab_cni", "routed") != "none":
        others = [name for name in cluster.nodes if name != node]
        asked |= {f"echo {name}": {"echo": cluster.address(name), "around": around(cluster)} for name in others}
    if node in cluster.control_planes:
        asked |= _of_control_plane(address)
    if node == cluster.first:
        asked |= {kind: {"url": f"https://{address}:6443{path}", "as": "admin"} for kind, path in KINDS.items()}
        asked |= {what: {"url": f"https://{address}:6443{path}", "as": "admin"} for what, path in KUBEADMS.items()}
        asked["tokens"] = {"url": f"https://{address}:6443{TOKENS}", "as": "admin", "only": ["token-id", "expiration"]}
        for namespace in ("default", "kube-system"):
            asked[f"service account of {namespace}"] = _rules_of(address, f"system:serviceaccount:{namespace}:default")
    patience = {"patience_s": SLOWLY_S} if cluster.is_slow else {}
    return {name: question | patience for name, question in asked.items()}


def around(cluster: Cluster) -> int:
    """Bytes that a packet between machines has around a pod's: see __node_settings_overhead of roles/node_settings."""
    if cluster.variable("lab_cni", "routed") != "vxlan":
        return 0
    return 70 if ":" in cluster.address(cluster.first) else 50


def _of_control_plane(address: str) -> dict[str, Json]:
    api, etcd = f"https://{address}:6443", f"https://{address}:2379"
    rpc: dict[str, Any] = {"as": "etcd", "method": "POST", "body": "{}"}
    return {
        "/version": {"url": f"{api}/version", "as": "admin"},
        **{f"anonymous {path}": {"url": api + path} for path in CLOSED},
        "etcd": {"url": f"{etcd}/health", "as": "etcd"},
        "etcd members": {**rpc, "url": f"{etcd}/v3/cluster/member/list"},
        "etcd status": {**rpc, "url": f"{etcd}/v3/maintenance/status"},
        "anonymous etcd": {"url": f"{etcd}/health"},
        "anonymous etcd peer": {"url": f"https://{address}:2380/version"},
    }


def _rules_of(address: str, user: str) -> Json:
    """What somebody may do in the namespace default, as `kubectl auth can-i --list --as` asks."""
    kind = {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": "default"}}
    return {
        "url": f"https://{address}:6443/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "as": "admin",
        "method": "POST",
        "body": json.dumps(kind),
        "headers": {"Content-Type": "application/json", "Impersonate-User": user},
    }
