"""Before the fault: is the lab whole, who is hit, and what should happen? Ends in a plan, or refuses and says why."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labctl.drill import forecast, predict, workload
from labctl.drill.declare import NAMESPACE, SAID, Drill, NodeGoes, PartName, Step, Target
from labctl.drill.faults import Fault, Hit
from labctl.drill.journal import Journal
from labctl.drill.lab import DrillLab
from labctl.drill.model import (
    Host,
    Lost,
    NodeFacts,
    Plan,
    PlannedStep,
    Scene,
    Settings,
    Stream,
    Topology,
    Tracked,
    Victim,
)
from labctl.drill.outlook import outlook, watch_s
from labctl.drill.registry import fault
from labctl.drill.settings import live_flags, settings
from labctl.errors import InconclusiveError, StateError, UsageError, command_for
from labctl.kube.objects import Node, Pod
from labctl.providers.base import Machine

_WAIT_S = 120.0
_SPREAD_TRIES = 3
_START_MIN_S = 5.0


def check(drill: Drill, lab: DrillLab) -> None:
    """Refuse where the drill cannot be run or undone. Changes nothing."""
    why = unsupported(drill, lab)
    if why:
        raise UsageError(f"{drill.name} is not supported by lab {lab.name}: {why}", "labctl drill --list says of each")
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
    if sum(node.accepts_pods for node in nodes.values()) < min(2, drill.needs.workers):
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


def unsupported(drill: Drill, lab: DrillLab) -> str:
    """Why this lab cannot have the drill, or nothing. Changes nothing, and needs no whole lab."""
    machines = lab.power.machines()
    workers = [machine for machine in machines if machine.role == "worker"]
    needs = drill.needs
    if len(workers) < needs.workers or (needs.exactly and len(workers) > needs.workers):
        word = "exactly" if needs.exactly else "at least"
        wanted = f"{needs.workers} worker{'s' if needs.workers != 1 else ''}"
        return f"it needs {word} {wanted}, and there are {len(workers)}"
    for step in (*drill.setup, *drill.steps):
        role = drill.targets[step.target].role
        here = [machine for machine in machines if machine.role == role]
        if not here:
            return f"it needs a {role}, and there is none"
        reason = fault(step.fault).unsupported(lab, _hit(lab, step, here[0].name))
        if reason:
            return reason
    return ""


Prepare = Callable[[Step, Hit], None]
"""Carries a step of the setup out, with its intent on disk before."""


def plan(drill: Drill, lab: DrillLab, seed: int, prepare: Prepare) -> Plan:
    """Deploy the workload, choose the victims by `seed`, set the scene and predict."""
    rng = random.Random(seed)  # noqa: S311 - a fair choice that can be repeated
    pods, start_s = _deploy(drill, lab)
    machines = lab.power.machines()
    nodes = {node.name: node for node in lab.cluster.nodes()}
    chosen: dict[str, list[Machine]] = {}
    for name, target in drill.targets.items():
        others = [machine for machine in machines if machine not in chosen.get(target.besides, [])]
        chosen[name] = _choose(drill, target, others, nodes, pods, rng)
    wanted_nodes = len(_accepting(nodes))
    if drill.setup:
        for step in drill.setup:
            for machine in chosen[step.target]:
                prepare(step, _hit(lab, step, machine.name))
        nodes = {node.name: node for node in lab.cluster.nodes()}
    victims = _victims(drill, chosen)
    bare = _bind_bare_pod(drill, lab, victims[0]) if "bare-pod" in drill.parts else None
    tracked = _tracked(drill, lab, [*pods, *([bare] if bare else [])], victims, wanted_nodes)
    goes, keeps_serving = seen_as(drill)
    tolerated: dict[str, float | None] = {
        item.part: _tolerated(item, [*pods, *([bare] if bare else [])], goes) for item in tracked
    }
    live = _settings(lab, machines, victims[0], tolerated.get("deployment"))
    topology = _topology(tracked, nodes, victims, max(_START_MIN_S, 2 * start_s))
    topology = topology.model_copy(update={"keeps_serving": keeps_serving})
    scene = Scene(
        drill=drill,
        goes=goes,
        keeps_serving=keeps_serving,
        evicts=_first(drill).evicts,
        topology=topology,
        victims=victims,
        tracked=tracked,
        tolerations=tolerated,
        blocked=_blocked(drill, lab, tracked),
    )
    restore, strangers = _bare_pods(lab, lab.cluster.pods(), {victim.name for victim in victims})
    return Plan(
        scene=scene,
        lab=lab.name,
        seed=seed,
        settings=live,
        survivors=tuple(m.name for m in machines if m.name not in {victim.name for victim in victims}),
        steps=tuple(_planned(lab, step, chosen[step.target]) for step in _steps(drill)),
        streams=_streams(drill, lab, machines, victims),
        restore=restore,
        strangers=strangers,
        delay_s=round(rng.uniform(0, live.renew_s + live.monitor_s), 3),
        predictions=outlook(live, scene),
        late_taint=predict.late_taint(live) if goes == "unreachable" else None,
        watch_s=round(watch_s(live, scene), 2),
        host=_host(lab, sorted(nodes)),
    )


def _host(lab: DrillLab, nodes: Sequence[str]) -> Host:
    raw = {name: (lab.cluster.get("v1", "Node", name) or {}).get("status", {}) for name in nodes}
    found = tuple(_facts(name, status) for name, status in raw.items())
    return lab.host().model_copy(update={"nodes": found})


def _facts(name: str, status: Mapping[str, Any]) -> NodeFacts:
    info, capacity = status.get("nodeInfo", {}), status.get("capacity", {})
    return NodeFacts(
        name=name,
        os=info.get("osImage", ""),
        kernel=info.get("kernelVersion", ""),
        runtime=info.get("containerRuntimeVersion", ""),
        kubelet=info.get("kubeletVersion", ""),
        cpus=capacity.get("cpu", ""),
        memory=capacity.get("memory", ""),
    )


def _first(drill: Drill) -> Fault:
    """The fault; a control run does nothing, on purpose."""
    return fault(drill.steps[0].fault if drill.steps else "nothing")


def seen_as(drill: Drill) -> tuple[NodeGoes, bool]:
    """What Kubernetes makes of the victims ("any": nobody can tell), and whether the workload's pods serve on.

    Nobody can tell of a machine that comes back whether or not it was missed, nor while the API is away.
    """
    soon = (None, "proof")
    comes_back = any(step.undo and step.fault == drill.steps[0].fault and step.when in soon for step in drill.steps)
    has_workload = not drill.steps or drill.targets[drill.steps[0].target].role == "worker"
    goes = _first(drill).node_goes if drill.expect.api_answers and not comes_back else "any"
    return goes, _first(drill).keeps_serving or not has_workload


def _steps(drill: Drill) -> tuple[Step, ...]:
    """A control run does nothing, on purpose."""
    return drill.steps or (Step(fault="nothing", target=next(iter(drill.targets))),)


def _planned(lab: DrillLab, step: Step, machines: Sequence[Machine]) -> PlannedStep:
    facts = fault(step.fault)
    hits = [_hit(lab, step, machine.name) for machine in machines]
    return PlannedStep(
        step=step,
        machines=tuple(machine.name for machine in machines),
        args=dict(hits[0].args) if hits else {},
        doing=facts.undoing if step.undo else facts.doing,
        unproven=facts.unproven,
        is_silencing=facts.is_silencing,
    )


def _hit(lab: DrillLab, step: Step, machine: str) -> Hit:
    return Hit(machine, {**lab.surroundings(machine), **step.args})


# -- the workload


def _deploy(drill: Drill, lab: DrillLab) -> tuple[list[Pod], float]:
    """All parts but the bare Pod, Ready: their pods, and how long the last Deployment took."""
    cluster = lab.cluster
    cluster.delete_namespace(drill.namespace, _WAIT_S)
    before = lab.clock.now()
    nodes = len(_accepting({node.name: node for node in cluster.nodes()}))
    cluster.apply(workload.shared(drill, lab.hello, nodes))
    for part in drill.parts:
        _wait(drill, lab, part, nodes)
    start_s = lab.clock.now() - before
    _spread(drill, lab)
    pods = cluster.pods(drill.namespace)
    return [p for p in pods if not p.deletion_timestamp and p.labels.get(workload.PART) in drill.parts], start_s


def _wait(drill: Drill, lab: DrillLab, part: PartName, nodes: int) -> None:
    kind, name = workload.KINDS[part], workload.name_of(part, lab.hello)
    if kind == "Deployment":
        lab.cluster.wait_deployment(drill.namespace, name, _WAIT_S)
    elif kind != "Pod":
        lab.cluster.wait_ready(kind, drill.namespace, name, workload.wanted(drill, part, nodes), _WAIT_S)


def _spread(drill: Drill, lab: DrillLab) -> None:
    """The Deployment's pods on more than one node: a replica that shares its node is moved, a few times at most."""
    name = workload.name_of("deployment", lab.hello)
    if drill.replicas < 2 or drill.needs.workers < 2:  # noqa: PLR2004 - nothing to spread
        return
    for _ in range(_SPREAD_TRIES):
        lab.cluster.wait_deployment(drill.namespace, name, _WAIT_S)
        found = lab.cluster.pods(drill.namespace, f"{workload.PART}=deployment")
        pods = [p for p in found if not p.deletion_timestamp]
        if len({pod.node for pod in pods}) > 1:
            return
        doomed = {"name": pods[0].name, "namespace": drill.namespace}
        lab.cluster.delete([{"apiVersion": "v1", "kind": "Pod", "metadata": doomed}])
        lab.cluster.wait_pod_gone(drill.namespace, pods[0].name, _WAIT_S)
    raise InconclusiveError(
        f"all replicas of {drill.namespace}/{name} keep being scheduled onto {pods[0].node}: none could take over",
        command_for(lab.name, "kubectl", "-- describe nodes"),
    )


def _bind_bare_pod(drill: Drill, lab: DrillLab, victim: Victim) -> Pod:
    """The bare Pod, Ready on the victim."""
    document = workload.bare_pod(lab.hello, victim.name)
    name = document["metadata"]["name"]
    lab.cluster.apply([document])
    lab.cluster.wait_pod_ready(drill.namespace, name, _WAIT_S)
    return next(pod for pod in lab.cluster.pods(drill.namespace) if pod.name == name)


def _tracked(
    drill: Drill, lab: DrillLab, pods: Sequence[Pod], victims: Sequence[Victim], nodes: int
) -> tuple[Tracked, ...]:
    hit = {victim.name for victim in victims}
    return tuple(
        Tracked(
            part=part,
            kind=workload.KINDS[part],
            name=workload.name_of(part, lab.hello),
            wanted=workload.wanted(drill, part, nodes),
            lost=tuple(_lost(p) for p in pods if p.labels.get(workload.PART) == part and p.node in hit),
        )
        for part in drill.parts
    )


def _tolerated(item: Tracked, pods: Sequence[Pod], goes: str) -> float | None:
    """What the most patient of the part's lost pods tolerates; None: for ever."""
    uids = {lost.uid for lost in item.lost}
    seconds = [p.not_ready_s if goes in SAID else p.unreachable_s for p in pods if p.uid in uids]
    return None if None in seconds else max((s for s in seconds if s is not None), default=0.0)


def _blocked(drill: Drill, lab: DrillLab, tracked: Sequence[Tracked]) -> tuple[str, ...]:
    """Parts that a PodDisruptionBudget of the drill protects now."""
    budgets = [m["metadata"]["name"] for m in drill.manifests if m["kind"] == "PodDisruptionBudget"]
    for name in budgets:
        budget = lab.cluster.get("policy/v1", "PodDisruptionBudget", name, drill.namespace) or {}
        if budget.get("status", {}).get("disruptionsAllowed", 0) > 0:
            return ()
    return tuple(item.part for item in tracked if budgets and item.part == "deployment")


# -- victims and surroundings


def _choose(
    drill: Drill,
    target: Target,
    machines: Sequence[Machine],
    nodes: dict[str, Node],
    pods: Sequence[Pod],
    rng: random.Random,
) -> list[Machine]:
    """Machines of the role that carry a pod of each part that the target shall carry."""
    carrying = {part: {p.node for p in pods if p.labels.get(workload.PART) == part} for part in target.carries}
    candidates = [
        machine
        for machine in machines
        if machine.role == target.role
        and machine.name in nodes
        and all(machine.name in found for found in carrying.values())
    ]
    count = len(candidates) if target.count == "all" else target.count
    if not candidates or len(candidates) < count:
        parts = " and ".join(target.carries) or "the workload"
        raise InconclusiveError(
            f"{drill.name} needs {count or 1} machines ({target.role}) that carry pods of {parts};"
            f" there are {len(candidates)}"
        )
    return rng.sample(sorted(candidates, key=lambda machine: machine.name), count)


def _victims(drill: Drill, chosen: dict[str, list[Machine]]) -> tuple[Victim, ...]:
    """The machines that steps do something to, in their order, each once. To undo the setup of a machine is no harm."""
    done = [step for step in _steps(drill) if not step.undo]
    machines = {machine.name: machine for step in done for machine in chosen[step.target]}
    return tuple(
        Victim(name=machine.name, address=machine.address, role=machine.role, kth=number)
        for number, machine in enumerate(machines.values(), start=1)
    )


def _topology(
    tracked: Sequence[Tracked], nodes: dict[str, Node], victims: Sequence[Victim], start_max_s: float
) -> Topology:
    deployment = next(item for item in tracked if item.part == "deployment")
    elsewhere = deployment.wanted - len(deployment.lost)
    around = forecast.topology(nodes, [victim.name for victim in victims], elsewhere, start_max_s)
    return around.model_copy(update={"nodes_dead": len(victims)})


def _accepting(nodes: dict[str, Node]) -> list[str]:
    return [name for name, node in nodes.items() if node.accepts_pods]


def _settings(lab: DrillLab, machines: Sequence[Machine], victim: Victim, tolerated: float | None) -> Settings:
    control_planes = [machine.name for machine in machines if machine.role == "control-plane"]
    found = settings(
        lab.cluster.server_version(),
        live_flags(lab.run_on, control_planes, "kube-controller-manager"),
        lab.cluster.node_configz(victim.name),
        tolerated,
    )
    return found.model_copy(update={"patience": lab.patience})


def _streams(drill: Drill, lab: DrillLab, machines: Sequence[Machine], victims: Sequence[Victim]) -> tuple[Stream, ...]:
    """Addresses: the API server chose the node port; the survivor is a control plane where there is one."""
    name = workload.first(lab.hello, "Service")["metadata"]["name"]
    service = lab.cluster.get("v1", "Service", name, drill.namespace)
    if service is None:
        raise InconclusiveError(f"the Service {drill.namespace}/{name} is gone")
    port = int(service["spec"]["ports"][0]["nodePort"])
    hit = {victim.name for victim in victims}
    survivor = next((m.address for m in machines if m.name not in hit), victims[0].address)  # control planes come first
    hosts = {"survivor": survivor, "victim": victims[0].address}
    return tuple(Stream(spec=spec, host=hosts[spec.via], port=port) for spec in drill.streams)


def _bare_pods(lab: DrillLab, pods: Sequence[Pod], hit: set[str]) -> tuple[tuple[Lost, ...], tuple[Lost, ...]]:
    """Bare pods on the victims outside the drill: labctl's own, and the user's."""
    own = {(d["metadata"].get("namespace", "default"), d["metadata"]["name"]) for d in lab.hello if d["kind"] == "Pod"}
    here = [p for p in pods if p.node in hit and p.namespace != NAMESPACE]
    bare = [p for p in here if not p.owner_kind and p.phase == "Running"]
    ours = [p for p in bare if (p.namespace, p.name) in own and workload.OWNED.items() <= p.labels.items()]
    return tuple(map(_lost, ours)), tuple(_lost(p) for p in bare if p not in ours)


def _lost(pod: Pod) -> Lost:
    return Lost(namespace=pod.namespace, name=pod.name, uid=pod.uid, owner_kind=pod.owner_kind, node=pod.node)
