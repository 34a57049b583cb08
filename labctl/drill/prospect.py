"""What a drill would do in this lab, without doing anything: whether it can, how long it takes, what is predicted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from labctl.drill import forecast
from labctl.drill.declare import Drill, Frozen
from labctl.drill.faults import Fault
from labctl.drill.gate import seen_as, unsupported
from labctl.drill.lab import DrillLab
from labctl.drill.model import Lost, Prediction, Scene, Settings, Tracked, Victim
from labctl.drill.outlook import outlook, watch_s
from labctl.drill.registry import fault
from labctl.drill.settings import live
from labctl.drill.workload import KINDS, wanted
from labctl.kube.objects import Node
from labctl.providers.base import Machine

_AROUND_S = 25.0
"""gate, heal and recovery, an estimate"""
_AT_ONCE = 8
"""sessions of SSH; sshd takes ten on a connection (MaxSessions)"""


class Prospect(Frozen):
    """A drill as it would be here. `unsupported`: why it cannot; then there is no prediction."""

    name: str
    unsupported: str = ""
    seconds: float | None = None
    """about how long a run takes"""
    settings: Settings | None = None
    victims: tuple[str, ...] = ()
    """those that might be hit; which ones is drawn when it runs"""
    predictions: tuple[Prediction, ...] = ()


def prospects(drills: list[Drill], lab: DrillLab) -> list[Prospect]:
    """Of each drill. Reads the live settings once. Raises `InconclusiveError` if they cannot be read."""
    machines = lab.power.machines()
    nodes = {node.name: node for node in lab.cluster.nodes()}
    settings = live(lab, machines, next((m.name for m in machines if m.role == "worker"), machines[0].name))
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # most of it is waiting for what a machine says
        return list(pool.map(lambda drill: _of(drill, lab, machines, nodes, settings), drills))


def _of(drill: Drill, lab: DrillLab, machines: list[Machine], nodes: dict[str, Node], settings: Settings) -> Prospect:
    reason = unsupported(drill, lab)
    if reason:
        return Prospect(name=drill.name, unsupported=reason)
    scene = _scene(drill, machines, nodes, settings)
    bands = outlook(settings, scene)
    last = max([p.band.max_s for p in bands if p.band and p.is_awaited_in(drill)] + [watch_s(settings, scene)])
    seconds = _AROUND_S + drill.baseline_s + settings.renew_s + settings.monitor_s + last + drill.hold_s
    return Prospect(
        name=drill.name,
        seconds=round(seconds),
        settings=settings,
        victims=tuple(victim.name for victim in scene.victims),
        predictions=bands,
    )


def _scene(drill: Drill, machines: list[Machine], nodes: dict[str, Node], settings: Settings) -> Scene:
    """As if the first machines that are eligible were hit, and one pod of each part were on them."""
    facts: Fault = fault(drill.steps[0].fault if drill.steps else "nothing")
    goes, keeps_serving = seen_as(drill)
    target = drill.targets[drill.steps[0].target] if drill.steps else next(iter(drill.targets.values()))
    able = [machine for machine in machines if machine.role == target.role and machine.name in nodes]
    hit = able if target.count == "all" else able[: target.count]
    victims = tuple(
        Victim(name=m.name, address=m.address, role=m.role, kth=number) for number, m in enumerate(hit, start=1)
    )
    accepting = sum(node.accepts_pods for node in nodes.values())
    tracked = tuple(
        Tracked(
            part=part,
            kind=KINDS[part],
            name=part,
            wanted=wanted(drill, part, accepting),
            lost=(Lost(namespace=drill.namespace, name=part, uid=part),) if target.role == "worker" else (),
        )
        for part in drill.parts
    )
    names = [victim.name for victim in victims]
    topology = forecast.topology(nodes, names, max(0, drill.replicas - len(victims)))
    return Scene(
        drill=drill,
        goes=goes,
        keeps_serving=keeps_serving,
        evicts=facts.evicts,
        topology=topology.model_copy(update={"nodes_dead": max(1, len(victims)), "keeps_serving": keeps_serving}),
        victims=victims,
        tracked=tracked,
        tolerations={part: settings.toleration_s for part in drill.parts if part not in ("patient", "daemonset")},
    )
