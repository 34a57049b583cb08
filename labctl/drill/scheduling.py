"""Faults of placement: pods of low priority that fill a node, one of high priority that wants room.

PriorityClasses belong to no namespace: labctl's own are labelled, and taken away by the heal and by `labctl recover`.
Both of their values are below 0, which is what pods without a class have: nobody else's pod can be preempted.
https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

import copy
from typing import Any

from labctl.drill.declare import NAMESPACE
from labctl.drill.faults import Hit, Plain
from labctl.drill.lab import Document, DrillLab
from labctl.drill.timeline import Timeline
from labctl.drill.workload import HIGH, LOW, OWNED, PART, first
from labctl.errors import InconclusiveError

_SCHEDULING = "scheduling.k8s.io/v1"
_VALUES = {LOW: -10, HIGH: -1}
_GRACE_S = 1


class LowPriorityPods(Plain):
    """A Deployment of one pod on the node, of low priority, that requests all CPU that is left there."""

    doing = "filling its node with a pod of low priority"
    undoing = "taking the pod of low priority away"
    proven = "has no CPU left to give away"
    unproven = "was filled with a pod of low priority"

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Where a node that is no worker accepts pods: it would have room."""
        del hit
        workers = {machine.name for machine in lab.power.machines() if machine.role == "worker"}
        open_ones = [node.name for node in lab.cluster.nodes() if node.accepts_pods and node.name not in workers]
        return f"{', '.join(open_ones)} is no worker and accepts pods: there would be room" if open_ones else ""

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """What the scheduler still has to give away on the node, to the last millicore. Raises `InconclusiveError`."""
        free = lab.cluster.free_cpu(hit.machine)
        if free <= 0:
            raise InconclusiveError(f"{hit.machine} has no CPU left that a pod of low priority could request")
        pod = _pod(lab, LOW, free)
        pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": hit.machine}
        pod["metadata"]["labels"]["labctl.drill/node"] = hit.machine
        spec = {"replicas": 1, "selector": {"matchLabels": pod["metadata"]["labels"]}, "template": pod}
        lab.cluster.apply([_class(LOW), {**_named("apps/v1", "Deployment", _name(hit.machine)), "spec": spec}])

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Pods and class."""
        lab.cluster.delete([_named("apps/v1", "Deployment", _name(hit.machine))])
        remove_classes(lab, LOW)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The pod is Ready there."""
        del timeline
        pods = lab.cluster.pods(NAMESPACE, f"{PART}={LOW}")
        return any(pod.node == hit.machine and pod.ready and not pod.deletion_timestamp for pod in pods)


class HighPriorityPod(Plain):
    """A pod of higher priority, as large as the smallest of low priority: it fits nowhere unless one of them goes."""

    doing = "a pod of high priority appears, for which no node has room"
    undoing = "taking the pod of high priority away"
    proven = "is in a lab with a pod of high priority"
    unproven = "met a pod of high priority"
    name = f"hello-{HIGH}"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """One pod, however many machines are hit."""
        del hit
        pod = {**_named("v1", "Pod", self.name), **_pod(lab, HIGH, _smallest(lab))}
        pod["metadata"] = {**pod["metadata"], "name": self.name, "namespace": NAMESPACE}
        lab.cluster.apply([_class(HIGH), pod])

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Pod and class."""
        del hit
        lab.cluster.delete([_named("v1", "Pod", self.name)])
        remove_classes(lab, HIGH)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The API has it. Whether it runs is for the expectation to say."""
        del hit, timeline
        return any(pod.name == self.name for pod in lab.cluster.pods(NAMESPACE))


def remove_classes(lab: DrillLab, *which: str) -> list[str]:
    """Take drills' PriorityClasses away (default: all); their names."""
    removed = []
    for name in which or tuple(_VALUES):
        found = lab.cluster.get(_SCHEDULING, "PriorityClass", _class_name(name))
        if found and OWNED.items() <= (found["metadata"].get("labels") or {}).items():
            lab.cluster.delete([_class(name)])
            removed.append(_class_name(name))
    return removed


def _smallest(lab: DrillLab) -> int:
    """Millicores of the smallest pod of low priority. Raises `InconclusiveError` if there is none."""
    found = []
    for machine in lab.power.machines():
        made = lab.cluster.get("apps/v1", "Deployment", _name(machine.name), NAMESPACE)
        if made:
            container = made["spec"]["template"]["spec"]["containers"][0]
            found.append(int(container["resources"]["requests"]["cpu"].removesuffix("m")))
    if not found:
        raise InconclusiveError("there is no pod of low priority: the setup has no low-priority-pods")
    return min(found)


def _pod(lab: DrillLab, priority: str, millicores: int) -> dict[str, Any]:
    """A pod's labels and spec: hello-world's container, with a priority and a request."""
    template = first(lab.hello, "Deployment")["spec"]["template"]
    container = {
        **copy.deepcopy(template["spec"]["containers"][0]),
        "resources": {"requests": {"cpu": f"{millicores}m"}},
    }
    spec = {
        "priorityClassName": _class_name(priority),
        "terminationGracePeriodSeconds": _GRACE_S,
        "containers": [container],
    }
    return {"metadata": {"labels": {**OWNED, PART: priority}}, "spec": spec}


def _class(name: str) -> Document:
    meta = {"name": _class_name(name), "labels": OWNED}
    return {"apiVersion": _SCHEDULING, "kind": "PriorityClass", "metadata": meta, "value": _VALUES[name]}


def _class_name(name: str) -> str:
    return f"labctl-drill-{name}"


def _name(machine: str) -> str:
    return f"{LOW}-{machine}"


def _named(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}
