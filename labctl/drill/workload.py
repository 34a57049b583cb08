"""The drill's own pods: hello-world's documents in the drill's namespace, and other owners of the same container. Pure.

Each part's pods carry the label `PART`, by which they are followed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from labctl.drill.declare import NAMESPACE, Drill, PartName
from labctl.drill.lab import Document

OWNED = {"app.kubernetes.io/managed-by": "labctl"}
PART = "labctl.drill/part"
LOW, HIGH = "low-priority", "high-priority"
"""values of `PART` on pods that are no part of the workload: those of the faults of that name"""
KINDS: dict[PartName, str] = {
    "deployment": "Deployment",
    "single": "Deployment",
    "patient": "Deployment",
    "bare-pod": "Pod",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "job": "Job",
}
_PATIENCE_S = 3600
_HOST = "kubernetes.io/hostname"


def first(documents: Sequence[Document], kind: str) -> Document:
    """The first document of `kind`."""
    return next(document for document in documents if document["kind"] == kind)


def name_of(part: PartName, documents: Sequence[Document]) -> str:
    """The name of the part's object."""
    own = {"deployment": "Deployment", "bare-pod": "Pod"}.get(part)
    return str(first(documents, own)["metadata"]["name"]) if own else f"hello-{part}"


def shared(drill: Drill, documents: Sequence[Document], nodes: int) -> list[Document]:
    """The namespace, and in it all of the drill that is bound to no node. `nodes`: how many nodes accept pods."""
    space: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": OWNED}}
    services = [_moved(document) for document in documents if document["kind"] not in ("Pod", "Deployment")]
    parts = [made for part in drill.parts if part != "bare-pod" for made in _part(drill, part, documents, nodes)]
    return [space, *services, *parts, *(_moved(document) for document in drill.manifests)]


def bare_pod(documents: Sequence[Document], node: str) -> Document:
    """The bare Pod, bound to `node`."""
    pod = _moved(first(documents, "Pod"))
    pod["metadata"]["labels"][PART] = "bare-pod"
    pod["spec"]["nodeName"] = node
    return pod


def wanted(drill: Drill, part: PartName, nodes: int) -> int:
    """How many pods the part has. Beside the Deployment each part has one on every node that accepts pods."""
    return {"deployment": drill.replicas, "single": 1, "bare-pod": 1}.get(part, nodes)


def _part(drill: Drill, part: PartName, documents: Sequence[Document], nodes: int) -> list[dict[str, Any]]:
    made = _moved(first(documents, "Deployment"))
    name = name_of(part, documents)
    template, spec = made["spec"]["template"], made["spec"]
    template["metadata"]["labels"][PART] = part
    spec["replicas"] = wanted(drill, part, nodes)
    if part != "deployment":
        _rename(made, name)
    if drill.spread == "must":
        _must_spread(template)
    elif drill.spread == "even":
        template["spec"]["topologySpreadConstraints"] = [_even(template)]
    if part == "patient":
        template["spec"]["tolerations"] = [
            {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
            | {"tolerationSeconds": _PATIENCE_S}
            for taint in ("unreachable", "not-ready")
        ]
    made["kind"] = KINDS[part]
    return {"statefulset": _stateful, "daemonset": _daemon, "job": _job}.get(part, _plain)(made)


def _plain(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [made]


def _stateful(made: dict[str, Any]) -> list[dict[str, Any]]:
    name, labels = made["metadata"]["name"], made["spec"]["selector"]["matchLabels"]
    made["spec"] |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    meta = {"name": name, "namespace": NAMESPACE, "labels": OWNED}
    spec = {"clusterIP": "None", "selector": labels, "ports": [{"port": 80}]}
    return [{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}, made]


def _daemon(made: dict[str, Any]) -> list[dict[str, Any]]:
    del made["spec"]["replicas"]
    made["spec"]["template"]["spec"].pop("topologySpreadConstraints", None)
    return [made]


def _job(made: dict[str, Any]) -> list[dict[str, Any]]:
    spec = made["spec"]
    count = spec.pop("replicas")
    del spec["selector"]
    spec |= {"parallelism": count, "completions": count, "backoffLimit": 20}
    spec["template"]["spec"]["restartPolicy"] = "Never"
    made["apiVersion"] = "batch/v1"
    return [made]


def _rename(made: dict[str, Any], name: str) -> None:
    """Another name, and labels that no Service and no other part selects."""
    labels = {"app.kubernetes.io/name": name}
    made["metadata"]["name"] = name
    made["metadata"]["labels"] |= labels
    made["spec"]["selector"] = {"matchLabels": labels}
    made["spec"]["template"]["metadata"]["labels"] |= labels
    for wish in made["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        wish["labelSelector"] = {"matchLabels": labels}


def _even(template: dict[str, Any]) -> dict[str, Any]:
    """No node may have two more than another. As Kubernetes ships it, a dead node with none counts (KEP-3094)."""
    return {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **_on_a_host(template)}


def _on_a_host(template: dict[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": template["metadata"]["labels"]["app.kubernetes.io/name"]}
    return {"topologyKey": _HOST, "labelSelector": {"matchLabels": labels}}


def _must_spread(template: dict[str, Any]) -> None:
    """Never two of them on one node, rather none."""
    term = _on_a_host(template)
    template["spec"].pop("topologySpreadConstraints", None)
    template["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _moved(document: Document) -> dict[str, Any]:
    """`document` in the drill's namespace, with a node port of the API server's choice."""
    moved: dict[str, Any] = copy.deepcopy(dict(document))
    moved["metadata"]["namespace"] = NAMESPACE
    moved["metadata"].setdefault("labels", {}).update(OWNED)
    for port in moved.get("spec", {}).get("ports", []) if document["kind"] == "Service" else []:
        port.pop("nodePort", None)
    return moved
