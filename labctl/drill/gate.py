"""Before the fault: is the lab whole, who is hit, and what should happen? Ends in a plan, or refuses and says why."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from labctl.drill import forecast, predict, workload
from labctl.drill.faults import FAULTS
from labctl.drill.journal import Journal
from labctl.drill.lab import DrillLab
from labctl.drill.model import NAMESPACE, Drill, Lost, Plan, Settings, Stream
from labctl.drill.settings import live_flags, settings
from labctl.errors import InconclusiveError, StateError, UsageError, command_for
from labctl.kube.objects import Node, Pod
from labctl.providers.base import Machine

_WAIT_S = 120.0
_SPREAD_TRIES = 3
_START_MIN_S = 5.0


def check(drill: Drill, lab: DrillLab) -> None:
    """Refuse where the drill cannot be run or undone. Changes nothing."""
    needs = FAULTS[drill.fault].needs
    if needs and not isinstance(lab.power, needs):
        raise UsageError(f"{drill.name} needs a provider that {needs.__name__} describes; this lab's does not")
    if Journal(lab.journal, lab.name).open_intents():
        raise StateError(
            f"an earlier drill of lab {lab.name} was cut off and not undone", command_for(lab.name, "recover")
        )
    machines = lab.power.machines()
    off = [m.name for m in machines if m.power != "on"]
    if off:
        raise InconclusiveError(f"{', '.join(off)} of lab {lab.name} is not on", command_for(lab.name, "recover"))
    nodes = {node.name: node for node in lab.cluster.nodes()}
    for machine in machines:
        if machine.name not in nodes:
            raise InconclusiveError(
                f"the machine {machine.name} is no node of the cluster", command_for(lab.name, "up")
            )
        if not nodes[machine.name].ready:
            why = nodes[machine.name].why_not_ready()
            raise InconclusiveError(f"the node {machine.name} is not Ready: {why}", command_for(lab.name, "status"))
    if sum(node.accepts_pods for node in nodes.values()) < 2:  # noqa: PLR2004 - one dies, one takes over
        raise InconclusiveError(
            f"{drill.name} needs two nodes that accept pods, so that one can take over; lab {lab.name} has less",
            command_for(lab.name, "up", "--workers 2"),
        )
    failing = lab.verify()
    if failing:
        raise InconclusiveError(
            "\n".join([f"the lab {lab.name} is not what it should be before the drill:", *failing]),
            f"{command_for(lab.name, 'verify')} says what to do",
        )
    space = lab.cluster.get("v1", "Namespace", drill.namespace)
    if space and not workload.OWNED.items() <= (space["metadata"].get("labels") or {}).items():
        raise InconclusiveError(f"the namespace {drill.namespace} is there and is not labctl's")


def plan(drill: Drill, lab: DrillLab, seed: int) -> Plan:
    """Deploy the workload, choose the victim by `seed` and predict."""
    rng = random.Random(seed)  # noqa: S311 - a fair choice that can be repeated
    cluster = lab.cluster
    cluster.delete_namespace(drill.namespace, _WAIT_S)
    before = lab.clock.now()
    cluster.apply(workload.shared(lab.hello))
    pods = _spread_pods(drill, lab)
    start_s = lab.clock.now() - before
    machines = lab.power.machines()
    nodes = {node.name: node for node in cluster.nodes()}
    victim = _choose_victim(machines, nodes, pods, rng)
    bare = _bind_bare_pod(drill, lab, victim)
    lost = tuple(_lost(pod) for pod in pods if pod.node == victim.name)
    live = _settings(lab, machines, victim, [pod for pod in pods if pod.node == victim.name])
    elsewhere = sum(pod.node != victim.name for pod in pods)
    around = forecast.topology(nodes, victim.name, elsewhere, max(_START_MIN_S, 2 * start_s))
    topology = around.model_copy(update={"keeps_serving": FAULTS[drill.fault].keeps_serving})
    restore, strangers = _bare_pods(lab, cluster.pods(), victim)
    deployment = workload.first(lab.hello, "Deployment")
    return Plan(
        drill=drill,
        lab=lab.name,
        seed=seed,
        settings=live,
        victim=victim.name,
        victim_address=victim.address,
        survivors=tuple(machine.name for machine in machines if machine.name != victim.name),
        streams=_streams(drill, lab, machines, victim),
        deployment=deployment["metadata"]["name"],
        selector=deployment["spec"]["selector"]["matchLabels"],
        replicas=deployment["spec"]["replicas"],
        lost=lost,
        bare=_lost(bare),
        restore=restore,
        strangers=strangers,
        topology=topology,
        delay_s=round(rng.uniform(0, live.renew_s + live.monitor_s), 3),
        predictions=predict.predict(live, topology),
        late_taint=predict.late_taint(live),
    )


def _spread_pods(drill: Drill, lab: DrillLab) -> list[Pod]:
    """The Deployment's pods on more than one node: a replica that shares its node is moved, a few times at most."""
    deployment = workload.first(lab.hello, "Deployment")
    name, selector = deployment["metadata"]["name"], deployment["spec"]["selector"]["matchLabels"]
    label = ",".join(f"{key}={value}" for key, value in selector.items())
    for _ in range(_SPREAD_TRIES):
        lab.cluster.wait_deployment(drill.namespace, name, _WAIT_S)
        pods = [p for p in lab.cluster.pods(drill.namespace, label) if not p.deletion_timestamp]
        if len({pod.node for pod in pods}) > 1:
            return pods
        doomed = {"name": pods[0].name, "namespace": drill.namespace}
        lab.cluster.delete([{"apiVersion": "v1", "kind": "Pod", "metadata": doomed}])
        lab.cluster.wait_pod_gone(drill.namespace, pods[0].name, _WAIT_S)
    raise InconclusiveError(
        f"all replicas of {drill.namespace}/{name} keep being scheduled onto {pods[0].node}: none could take over",
        command_for(lab.name, "kubectl", "-- describe nodes"),
    )


def _bind_bare_pod(drill: Drill, lab: DrillLab, victim: Machine) -> Pod:
    """The bare Pod, Ready on the victim."""
    document = workload.bare_pod(lab.hello, victim.name)
    name = document["metadata"]["name"]
    lab.cluster.apply([document])
    lab.cluster.wait_pod_ready(drill.namespace, name, _WAIT_S)
    return next(pod for pod in lab.cluster.pods(drill.namespace) if pod.name == name)


def _choose_victim(
    machines: Sequence[Machine], nodes: dict[str, Node], pods: Sequence[Pod], rng: random.Random
) -> Machine:
    """A worker that carries a replica, while another node accepts pods."""
    carrying = {pod.node for pod in pods}
    candidates = [
        machine
        for machine in machines
        if machine.role == "worker"
        and machine.name in carrying
        and any(node.accepts_pods for name, node in nodes.items() if name != machine.name)
    ]
    if not candidates:
        raise InconclusiveError(f"no worker carries a replica of the Deployment; nodes that do: {sorted(carrying)}")
    return rng.choice(sorted(candidates, key=lambda machine: machine.name))


def _settings(lab: DrillLab, machines: Sequence[Machine], victim: Machine, lost: Sequence[Pod]) -> Settings:
    control_planes = [machine.name for machine in machines if machine.role == "control-plane"]
    tolerated = [math.inf if pod.unreachable_s is None else pod.unreachable_s for pod in lost]
    longest = max(tolerated)
    return settings(
        lab.cluster.server_version(),
        live_flags(lab.run_on, control_planes, "kube-controller-manager"),
        lab.cluster.node_configz(victim.name),
        None if longest == math.inf else longest,
    )


def _streams(drill: Drill, lab: DrillLab, machines: Sequence[Machine], victim: Machine) -> tuple[Stream, ...]:
    """Addresses: the API server chose the node port; the survivor is a control plane where there is one."""
    name = workload.first(lab.hello, "Service")["metadata"]["name"]
    service = lab.cluster.get("v1", "Service", name, drill.namespace)
    if service is None:
        raise InconclusiveError(f"the Service {drill.namespace}/{name} is gone")
    port = int(service["spec"]["ports"][0]["nodePort"])
    survivor = next(machine for machine in machines if machine.name != victim.name)  # control planes come first
    hosts = {"survivor": survivor.address, "victim": victim.address}
    return tuple(Stream(spec=spec, host=hosts[spec.via], port=port) for spec in drill.streams)


def _bare_pods(lab: DrillLab, pods: Sequence[Pod], victim: Machine) -> tuple[tuple[Lost, ...], tuple[Lost, ...]]:
    """Bare pods on the victim outside the drill: labctl's own, and the user's."""
    own = {(d["metadata"].get("namespace", "default"), d["metadata"]["name"]) for d in lab.hello if d["kind"] == "Pod"}
    here = [p for p in pods if p.node == victim.name and p.namespace != NAMESPACE]
    bare = [p for p in here if not p.owner_kind and p.phase == "Running"]
    ours = [p for p in bare if (p.namespace, p.name) in own and workload.OWNED.items() <= p.labels.items()]
    return tuple(map(_lost, ours)), tuple(_lost(p) for p in bare if p not in ours)


def _lost(pod: Pod) -> Lost:
    return Lost(namespace=pod.namespace, name=pod.name, uid=pod.uid, owner_kind=pod.owner_kind)
