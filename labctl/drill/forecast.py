"""What would happen, without doing anything: of each worker the stages, and of each of its pods whether it comes back.

Who comes back is decided by whoever made the pod (https://kubernetes.io/docs/concepts/architecture/nodes/ and
https://kubernetes.io/docs/tasks/run-application/force-delete-stateful-set-pod/). Evictions for a taint ask no
PodDisruptionBudget. Whether the scheduler finds a place is looked at as far as any other node accepts pods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from labctl.drill.declare import NAMESPACE, Frozen
from labctl.drill.lab import DrillLab
from labctl.drill.model import Band, Prediction, Settings, StageName, Topology
from labctl.drill.predict import predict
from labctl.drill.settings import live as live_settings
from labctl.kube.objects import Node, Pod

_ZONE = "topology.kubernetes.io/zone"
_WAITS = {
    "Node": "a static pod: it belongs to the machine, and starts with it again",
    "DaemonSet": "its DaemonSet wants it on this machine only: it stays bound, and starts with it again",
    "StatefulSet": "no second pod of its name may run: it waits for the machine, for the Node to be deleted, or for "
    "the taint node.kubernetes.io/out-of-service",
}
_SUCCEEDS = {
    "ReplicaSet": "its ReplicaSet makes another one elsewhere",
    "ReplicationController": "its ReplicationController makes another one elsewhere",
    "Job": "its Job starts another one elsewhere, from the beginning",
}


class Prospect(Frozen):
    """A pod of the machine (``namespace/name``): when it is evicted, and when another one stands in for it."""

    pod: str
    owner: str
    evicted: Band | None
    replaced: Band | None
    fate: Literal["comes back", "waits", "lost", "unknown"]
    why: str


class Forecast(Frozen):
    """The loss of one machine."""

    victim: str
    settings: Settings
    predictions: tuple[Prediction, ...]
    pods: tuple[Prospect, ...]


def forecast(lab: DrillLab) -> tuple[Forecast, ...]:
    """Of each worker whose power could be cut. Raises `InconclusiveError` if no controller-manager runs."""
    machines = lab.power.machines()
    pods = lab.cluster.pods()
    nodes = {node.name: node for node in lab.cluster.nodes()}
    found = []
    for machine in machines:
        if machine.role == "worker" and machine.name in nodes:
            live = live_settings(lab, machines, machine.name)
            found.append(_of(machine.name, live, topology(nodes, [machine.name]), pods))
    return tuple(found)


def topology(
    nodes: dict[str, Node], victims: Sequence[str], replicas_elsewhere: int = 1, start_max_s: float = 5.0
) -> Topology:
    """Who else is Ready if `victims` die, all of one zone."""
    zone = nodes[victims[0]].labels.get(_ZONE)
    others = [node for name, node in nodes.items() if name not in victims and node.ready]
    same_zone = sum(node.labels.get(_ZONE) == zone for node in others)
    return Topology(
        nodes_ready=same_zone,
        ready_in_other_zones=len(others) - same_zone,
        replicas_elsewhere=replicas_elsewhere,
        has_room=any(node.accepts_pods for node in others),
        start_max_s=round(start_max_s, 1),
    )


def _of(victim: str, live: Settings, around: Topology, pods: Sequence[Pod]) -> Forecast:
    here = [pod for pod in pods if pod.node == victim and pod.phase == "Running" and pod.namespace != NAMESPACE]
    ordered = sorted(here, key=lambda pod: (pod.owner_kind in _WAITS, pod.namespace, pod.name))
    return Forecast(
        victim=victim,
        settings=live,
        predictions=predict(live, around),
        pods=tuple(_prospect(pod, live, around) for pod in ordered),
    )


def _prospect(pod: Pod, live: Settings, around: Topology) -> Prospect:
    """With the pod's own toleration: a running pod keeps the one that it was admitted with."""
    stages = {p.name: p for p in predict(live.model_copy(update={"toleration_s": pod.unreachable_s}), around)}
    fate, why = _fate(pod, stages)
    return Prospect(
        pod=f"{pod.namespace}/{pod.name}",
        owner=f"{pod.owner_kind} {pod.owner_name}".strip() or "nobody",
        evicted=stages["evicted"].band if pod.owner_kind not in ("Node", "DaemonSet") else None,
        replaced=stages["replaced"].band if fate == "comes back" else None,
        fate=fate,
        why=why,
    )


def _fate(
    pod: Pod, stages: dict[StageName, Prediction]
) -> tuple[Literal["comes back", "waits", "lost", "unknown"], str]:
    if pod.owner_kind in _WAITS:
        return "waits", _WAITS[pod.owner_kind]
    if stages["evicted"].band is None:
        return "waits", f"it is not evicted: {stages['evicted'].note}"
    if pod.owner_kind in _SUCCEEDS:
        blocked = stages["replaced"]
        return ("waits", blocked.note) if blocked.band is None else ("comes back", _SUCCEEDS[pod.owner_kind])
    if not pod.owner_kind:
        return "lost", "nobody makes it again: a Deployment would"
    return "unknown", f"its owner decides: {pod.owner_kind} is not Kubernetes' own"
