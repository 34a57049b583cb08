"""The descheduler, run once: it evicts pods that would be placed elsewhere today, for the scheduler never moves any.

It runs as a Job beside the drill's pods, on a control plane, from the image of the lab's bundle. What it may do beyond
looking, it may do in the drill's namespace alone. Its ClusterRole belongs to no namespace: it is labelled, and taken
away by the heal and by `labctl recover`.
https://github.com/kubernetes-sigs/descheduler (policy v1alpha2, RemoveDuplicates)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from labctl.drill.declare import NAMESPACE
from labctl.drill.faults import Hit, Plain
from labctl.drill.lab import Document, DrillLab
from labctl.drill.timeline import Timeline
from labctl.drill.workload import OWNED

REPOSITORY = "registry.k8s.io/descheduler/descheduler"
NAME = "labctl-drill-descheduler"
_RBAC = "rbac.authorization.k8s.io"
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_LOOKS = ("pods", "nodes", "namespaces", "persistentvolumeclaims")
_POLICY = {
    "apiVersion": "descheduler/v1alpha2",
    "kind": "DeschedulerPolicy",
    "profiles": [
        {
            "name": "even",
            "pluginConfig": [
                {"name": "DefaultEvictor", "args": {"nodeFit": True}},
                {"name": "RemoveDuplicates", "args": {"namespaces": {"include": [NAMESPACE]}}},
            ],
            "plugins": {"balance": {"enabled": ["RemoveDuplicates"]}},
        }
    ],
}


class Descheduler(Plain):
    """Replicas of one owner that share a node although another has none are evicted, until they are spread evenly."""

    doing = "the descheduler runs once"
    undoing = "taking the descheduler away"
    proven = "has been looked at by the descheduler"
    unproven = "was looked at by the descheduler"

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Where no control plane has the image: a bundle that was made before the descheduler was part of it."""
        del hit
        return "" if _image(lab) else f"no control plane has an image of {REPOSITORY}: it is not in this lab's bundle"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Rights, policy, Job."""
        del hit
        lab.cluster.apply([*_rights(), _policy(), _job(*_image(lab))])

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """All of it."""
        del hit
        lab.cluster.delete([_named("batch/v1", "Job"), _named("v1", "ConfigMap"), *_rights()])

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The Job says that it succeeded. Whether anything moved is for the expectation to say."""
        del hit, timeline
        job = lab.cluster.get("batch/v1", "Job", NAME, NAMESPACE) or {}
        return bool(job.get("status", {}).get("succeeded"))


def remove_rights(lab: DrillLab) -> list[str]:
    """Take the descheduler's rights in the whole cluster away, if a drill left them; what was removed."""
    removed = []
    for document in _rights():
        if "namespace" in document["metadata"]:
            continue
        found = lab.cluster.get(document["apiVersion"], document["kind"], NAME)
        if found and OWNED.items() <= (found["metadata"].get("labels") or {}).items():
            lab.cluster.delete([document])
            removed.append(f"{document['kind']} {NAME}")
    return removed


def _image(lab: DrillLab) -> tuple[str, str] | tuple[()]:
    """A control plane and the image that it has; nothing if none has any."""
    for machine in lab.power.machines():
        if machine.role == "control-plane":
            raw = lab.cluster.get("v1", "Node", machine.name) or {}
            names = [name for image in raw.get("status", {}).get("images", []) for name in image.get("names") or []]
            if found := next((name for name in names if name.startswith(f"{REPOSITORY}:")), ""):
                return machine.name, found
    return ()


def _rights() -> list[Document]:
    """It looks at all pods and nodes, and evicts in the drill's namespace."""
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    looks = [
        {"apiGroups": [""], "resources": list(_LOOKS), "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["get", "list", "watch"]},
    ]
    evicts = [
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "update", "patch"]},
    ]
    return [
        _named("v1", "ServiceAccount"),
        _named(f"{_RBAC}/v1", "ClusterRole", rules=looks),
        _named(f"{_RBAC}/v1", "ClusterRoleBinding", roleRef=_role("ClusterRole"), subjects=[account]),
        _named(f"{_RBAC}/v1", "Role", rules=evicts),
        _named(f"{_RBAC}/v1", "RoleBinding", roleRef=_role("Role"), subjects=[account]),
    ]


def _role(kind: str) -> Mapping[str, str]:
    return {"apiGroup": _RBAC, "kind": kind, "name": NAME}


def _policy() -> Document:
    return _named("v1", "ConfigMap", data={"policy.yaml": yaml.safe_dump(_POLICY)})


def _job(node: str, image: str) -> Document:
    """Only labctl's control planes have the image."""
    container = {
        "name": "descheduler",
        "image": image,
        "command": ["/bin/descheduler"],
        "args": ["--policy-config-file=/policy/policy.yaml", "--v=3"],
        "volumeMounts": [{"name": "policy", "mountPath": "/policy"}],
    }
    spec = {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"key": _CONTROL_PLANE, "operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "policy", "configMap": {"name": NAME}}],
    }
    return _named("batch/v1", "Job", spec={"backoffLimit": 0, "template": {"spec": spec}})


def _named(version: str, kind: str, **rest: Any) -> Document:  # noqa: ANN401 (whatever the kind has)
    meta = {"name": NAME, "labels": OWNED}
    if not kind.startswith("Cluster"):
        meta["namespace"] = NAMESPACE
    return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}
