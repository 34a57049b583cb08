"""Faults of the API: what a person with kubectl could do to a node, to pods and to their owners."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from labctl.drill.declare import NAMESPACE, NodeGoes
from labctl.drill.faults import Hit, Plain
from labctl.drill.lab import DrillLab
from labctl.drill.timeline import Timeline
from labctl.drill.workload import PART
from labctl.errors import LabError
from labctl.kube.objects import Pod

MARK = "labctl.drill/cordoned"
"""a label of nodes that a drill cordoned: recovery knows them by it"""
ZONE = "topology.kubernetes.io/zone"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
OURS = "labctl"
"""the value of the out-of-service taint that a drill put on"""
_KEPT = ("name", "labels", "annotations")
_CONFLICTS = 5
Taint = dict[str, Any]


class Cordon(Plain):
    """The node accepts no new pods."""

    doing = "cordoning its node"
    undoing = "uncordoning its node"
    proven = "accepts no new pods"
    unproven = "was cordoned"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Mark and cordon, in one request."""
        _patch_node(lab, hit.machine, {"metadata": {"labels": {MARK: "true"}}, "spec": {"unschedulable": True}})

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Only what a drill cordoned."""
        uncordon(lab, hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The node says so."""
        del timeline
        return any(node.name == hit.machine and node.unschedulable for node in lab.cluster.nodes())


class Drain(Cordon):
    """The node is cordoned, and the drill's pods there are evicted, as far as their PodDisruptionBudgets allow.

    `kubectl drain` would evict everybody's; a drill touches its own only.
    https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/
    """

    doing = "draining its node"
    evicts = True
    proven = "is cordoned, and its pods were asked to leave"
    unproven = "was drained"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Cordon, then ask for each pod once."""
        super().inject(lab, hit)
        for pod in _pods(lab, hit.machine):
            if pod.owner_kind != "DaemonSet":
                lab.cluster.evict(pod.namespace, pod.name)


class PodDelete(Plain):
    """The pods of a part on the machine are deleted (`part`, default: deployment)."""

    doing = "deleting its pods of the drill"
    undoing = "nothing to undo: their owner makes new ones"
    evicts = True
    proven = "has lost its pods of the drill"
    unproven = "lost its pods"

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """Which."""
        return json.dumps([pod.name for pod in _pods(lab, hit.machine, hit.args.get("part", "deployment"))])

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Delete."""
        pods = json.loads(hit.before)
        lab.cluster.delete([_named("v1", "Pod", name) for name in pods])

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """They are gone or leaving, and there were some."""
        del timeline
        names = set(json.loads(hit.before))
        staying = [p for p in lab.cluster.pods(NAMESPACE) if not p.deletion_timestamp]
        return bool(names) and not any(pod.name in names for pod in staying)


class NodeDelete(Plain):
    """The Node object is deleted; its pods are collected as orphans, 40 to 80 s later (podgc)."""

    doing = "deleting its Node object"
    undoing = "making its Node object again"
    proven = "is no node any more"
    unproven = "lost its Node object"
    node_goes: NodeGoes = "deleted"

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """The Node, as far as it must come back: name, labels, annotations, the pods' addresses."""
        raw = lab.cluster.get("v1", "Node", hit.machine) or {}
        meta, spec = raw.get("metadata", {}), raw.get("spec", {})
        kept = {key: meta[key] for key in _KEPT if key in meta}
        return json.dumps({"metadata": kept, "spec": {k: spec[k] for k in ("podCIDR", "podCIDRs") if k in spec}})

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Delete."""
        lab.cluster.delete([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": hit.machine}}])

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Make it again as it was, for routes depend on its pods' addresses, which are given once.

        Its kubelet may have registered it anew meanwhile, with other ones.
        """
        if not hit.before:
            return
        kept, now = json.loads(hit.before), lab.cluster.get("v1", "Node", hit.machine)
        if now is not None and now["spec"].get("podCIDR") == kept["spec"].get("podCIDR"):
            return
        if now is not None:
            self.inject(lab, hit)
        lab.cluster.create({"apiVersion": "v1", "kind": "Node", **kept})

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The API has none of that name."""
        del timeline
        return lab.cluster.get("v1", "Node", hit.machine) is None


class OutOfService(Plain):
    """The taint that lets pods of a dead machine go at once, StatefulSets' too. Only for a machine that is off.

    https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
    """

    doing = "tainting its node out-of-service"
    undoing = "taking the taint out-of-service away"
    proven = "has the taint out-of-service"
    unproven = "was tainted out-of-service"
    node_goes: NodeGoes = "unreachable"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """After a last look at the switch: two machines with the same volume would be worse than none."""
        if lab.power.power(hit.machine) != "off":
            return
        ours = {"key": OUT_OF_SERVICE, "value": OURS, "effect": "NoExecute"}
        _change_taints(lab, hit.machine, lambda taints: [*(t for t in taints if t["key"] != OUT_OF_SERVICE), ours])

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Only labctl's own."""
        back_in_service(lab, hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The node carries it."""
        del timeline
        return any(taint["key"] == OUT_OF_SERVICE for taint in _taints(lab, hit.machine))


class Zone(Plain):
    """The node gets a zone of its own name (`zone`), to see what the loss of a zone does."""

    doing = "giving its node a zone"
    undoing = "taking the zone away"
    proven = "is in its zone"
    unproven = "was given a zone"

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Where the lab has zones of its own."""
        raw = lab.cluster.get("v1", "Node", hit.machine) or {}
        has_zone = ZONE in raw.get("metadata", {}).get("labels", {})
        return f"{hit.machine} has a zone already" if has_zone else ""

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Label."""
        zone = hit.args.get("zone", hit.machine)
        _patch_node(lab, hit.machine, {"metadata": {"labels": {ZONE: zone, f"{MARK}-zone": "true"}}})

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Only a drill's own."""
        out_of_zone(lab, hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The node says so."""
        del timeline
        zone = hit.args.get("zone", hit.machine)
        return any(node.name == hit.machine and node.labels.get(ZONE) == zone for node in lab.cluster.nodes())


class StrayPod(Plain):
    """A pod without an owner appears whose labels the Deployment's ReplicaSet selects."""

    doing = "a stray pod with its Deployment's labels appears"
    undoing = "nothing to undo: the ReplicaSet decides"
    proven = "has the stray pod, or had it"
    unproven = "got a stray pod"
    name = "hello-stray"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """A copy of a replica, without its owner."""
        source = next(pod for pod in _pods(lab, "", "deployment"))
        raw = copy.deepcopy(lab.cluster.get("v1", "Pod", source.name, NAMESPACE) or {})
        meta = {"name": self.name, "namespace": NAMESPACE, "labels": raw["metadata"]["labels"]}
        spec: dict[str, Any] = {**raw["spec"], "nodeName": hit.machine}
        lab.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """A watch saw it: it may be gone a moment later."""
        del lab, hit
        return timeline is not None and self.name in timeline.seen_pods


class ReplicaSetScale(Plain):
    """Somebody scales the Deployment's ReplicaSet behind the Deployment's back (`replicas`, default 0)."""

    doing = "its Deployment's ReplicaSet is scaled behind the Deployment's back"
    undoing = "nothing to undo: the Deployment scales it back"
    proven = "has seen its ReplicaSet scaled"
    unproven = "saw its ReplicaSet scaled"

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """Which ReplicaSet, and at which generation."""
        del hit
        name = next(pod.owner_name for pod in _pods(lab, "", "deployment"))
        raw = lab.cluster.get("apps/v1", "ReplicaSet", name, NAMESPACE) or {}
        return json.dumps({"name": name, "generation": raw["metadata"]["generation"]})

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Scale it."""
        name = json.loads(hit.before)["name"]
        change = {"spec": {"replicas": int(hit.args.get("replicas", 0))}}
        lab.cluster.patch(_named("apps/v1", "ReplicaSet", name), change)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """Its generation moved on."""
        del timeline
        before = json.loads(hit.before)
        raw = lab.cluster.get("apps/v1", "ReplicaSet", before["name"], NAMESPACE) or {"metadata": {"generation": 0}}
        return bool(raw["metadata"]["generation"] > before["generation"])


def uncordon(lab: DrillLab, node: str) -> bool:
    """Undo a drill's cordon; says whether there was one."""
    return _unmark(lab, node, MARK, {"metadata": {"labels": {MARK: None}}, "spec": {"unschedulable": None}})


def out_of_zone(lab: DrillLab, node: str) -> bool:
    """Take a drill's zone away; says whether there was one."""
    mark = f"{MARK}-zone"
    return _unmark(lab, node, mark, {"metadata": {"labels": {mark: None, ZONE: None}}})


def back_in_service(lab: DrillLab, node: str) -> bool:
    """Take a drill's taint out-of-service away; says whether there was one."""
    ours = (OUT_OF_SERVICE, OURS)
    return _change_taints(lab, node, lambda taints: [t for t in taints if (t["key"], t.get("value")) != ours])


def _unmark(lab: DrillLab, node: str, mark: str, change: dict[str, Any]) -> bool:
    raw = lab.cluster.get("v1", "Node", node)
    if raw is None or mark not in raw["metadata"].get("labels", {}):
        return False
    _patch_node(lab, node, change)
    return True


def _pods(lab: DrillLab, node: str, part: str = "") -> list[Pod]:
    label = f"{PART}={part}" if part else ""
    pods = lab.cluster.pods(NAMESPACE, label)
    return [pod for pod in pods if not pod.deletion_timestamp and node in ("", pod.node)]


def _taints(lab: DrillLab, node: str) -> list[dict[str, Any]]:
    raw = lab.cluster.get("v1", "Node", node) or {}
    return list(raw.get("spec", {}).get("taints") or [])


def _change_taints(lab: DrillLab, node: str, change: Callable[[list[Taint]], list[Taint]]) -> bool:
    """The list is one value, and the controller-manager writes it too: change what was read, or try again."""
    for _ in range(_CONFLICTS):
        raw = lab.cluster.get("v1", "Node", node)
        if raw is None:
            return False
        before = list(raw.get("spec", {}).get("taints") or [])
        after = change(before)
        if after == before:
            return False
        version = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        try:
            _patch_node(lab, node, {"metadata": version, "spec": {"taints": after}})
        except LabError:
            continue
        return True
    raise LabError(f"the taints of {node} changed {_CONFLICTS} times while labctl changed them")


def _named(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}


def _patch_node(lab: DrillLab, node: str, change: dict[str, Any]) -> None:
    lab.cluster.patch({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}, change)
