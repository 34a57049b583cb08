"""Bring a lab back: look at the world first, then at the journal. Idempotent, and verified step by step.

What could not be restored is a leftover, and so is each check that the lab fails in the end. An intent is closed when
nothing is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from labctl.drill import workload
from labctl.drill.journal import Intent, Journal
from labctl.drill.lab import Document, DrillLab
from labctl.drill.model import NAMESPACE
from labctl.errors import LabError
from labctl.events import Emit, Progress
from labctl.kube.objects import NOT_READY, UNREACHABLE
from labctl.providers.base import Machine

_NODE_LIMIT_S = 300.0
_POD_LIMIT_S = 120.0
_TAINTS = {UNREACHABLE, NOT_READY}


@dataclass(frozen=True)
class Recovery:
    """What `recover` did, and what it could not do."""

    switched_on: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    """pods that were put back"""
    leftovers: tuple[str, ...] = ()


@dataclass
class _Work:
    """A recovery under way."""

    lab: DrillLab
    emit: Emit
    switched_on: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        """Do `action`; if it fails, `what` is a leftover and the others still have their turn."""
        try:
            action()
        except LabError as error:
            self.leftovers.append(f"{what}: {error}")


def recover(lab: DrillLab, emit: Emit) -> Recovery:
    """Switch on what is off, wait for the nodes, remove the drill's namespace, put labctl's own bare pods back."""
    work = _Work(lab, emit)
    journal = Journal(lab.journal)
    intents = journal.open_intents()
    machines = lab.power.machines()
    for machine in machines:
        if machine.power != "on":
            work.attempt(f"{machine.name} is not on", partial(_switch_on, work, machine))
    work.attempt("nodes", partial(_wait_for_nodes, work, machines, intents))
    work.attempt(f"namespace {NAMESPACE}", partial(_remove_namespace, work))
    for name in sorted({name for intent in intents for name in intent.restore}):
        work.attempt(f"pod {name}", partial(_put_back, work, name))
    for document in lab.hello:
        if document["kind"] == "Deployment":
            name = document["metadata"]["name"]
            work.attempt(f"deployment {name}", partial(_wait_for_deployment, work, document))
    if not work.leftovers:
        work.leftovers += lab.verify()
    if not work.leftovers:
        for intent in intents:
            journal.close(intent)
    return Recovery(tuple(work.switched_on), tuple(work.restored), tuple(work.leftovers))


def broken(journal: Path, machines: Iterable[Machine]) -> list[str]:
    """Sentences about what a drill left behind, for `labctl status`; none if the lab is whole."""
    sentences = [
        f"the drill {intent.drill} of {intent.intended_at} was not undone"
        + (f" ({intent.fault} of {intent.machine})" if intent.machine else f" (namespace {NAMESPACE})")
        + ": labctl recover"
        for intent in Journal(journal).open_intents()
    ]
    return sentences + [f"{m.name} is {m.power}: labctl recover" for m in machines if m.power in {"off", "paused"}]


def _switch_on(work: _Work, machine: Machine) -> None:
    if machine.power == "gone":
        raise LabError("the machine does not exist any longer; labctl up makes it again")
    work.emit(Progress(f"{machine.name} is {machine.power}: switching it on"))
    work.lab.power.power_on(machine.name)
    now = work.lab.power.power(machine.name)
    if now != "on":
        raise LabError(f"the provider says {now} after it was switched on")
    work.switched_on.append(machine.name)


def _wait_for_nodes(work: _Work, machines: Sequence[Machine], intents: Sequence[Intent]) -> None:
    """Until all nodes are Ready and accept pods as before.

    A node that was off must answer itself: what the API says of it may be from before.
    """
    doubtful = {intent.machine for intent in intents if intent.machine} | set(work.switched_on)
    end = work.lab.clock.now() + _NODE_LIMIT_S
    for name in sorted(doubtful & {machine.name for machine in machines}):
        _wait_for_kubelet(work.lab, name, end)
    left = max(1.0, end - work.lab.clock.now())
    work.lab.cluster.wait_nodes_ready([machine.name for machine in machines], left)
    while trouble := _trouble(work.lab):
        if work.lab.clock.now() >= end:
            raise LabError(trouble)
        work.lab.clock.sleep(0.5)


def _trouble(lab: DrillLab) -> str:
    """What a Ready node may still lack: it is tainted as dead, or its part of the network does not run yet."""
    tainted = [node.name for node in lab.cluster.nodes() if any(taint.key in _TAINTS for taint in node.taints)]
    if tainted:
        return f"{', '.join(tainted)}: still tainted as dead"
    daemons = [pod for pod in lab.cluster.pods("kube-system") if pod.owner_kind == "DaemonSet" and not pod.ready]
    return "; ".join(f"{pod.name} on {pod.node}: {pod.why_not_ready()}" for pod in daemons)


def _wait_for_kubelet(lab: DrillLab, node: str, end: float) -> None:
    while True:
        try:
            lab.cluster.node_configz(node)
        except LabError as error:
            if lab.clock.now() >= end:
                raise LabError(f"the kubelet of {node} does not answer: {error}") from error
            lab.clock.sleep(1.0)
        else:
            return


def _remove_namespace(work: _Work) -> None:
    space = work.lab.cluster.get("v1", "Namespace", NAMESPACE)
    if space and workload.OWNED.items() <= (space["metadata"].get("labels") or {}).items():
        work.lab.cluster.delete_namespace(NAMESPACE, _POD_LIMIT_S)


def _put_back(work: _Work, full_name: str) -> None:
    """Apply labctl's own bare pod again once the old one is gone."""
    namespace, name = full_name.split("/")
    cluster = work.lab.cluster
    old = [pod for pod in cluster.pods(namespace) if pod.name == name]
    if any(pod.deletion_timestamp for pod in old):
        cluster.wait_pod_gone(namespace, name, _POD_LIMIT_S)
    documents = [workload.as_kubectl(d) for d in work.lab.hello if d["kind"] == "Pod" and d["metadata"]["name"] == name]
    if cluster.apply(documents):
        work.restored.append(full_name)
    cluster.wait_pod_ready(namespace, name, _POD_LIMIT_S)


def _wait_for_deployment(work: _Work, document: Document) -> None:
    meta = document["metadata"]
    namespace = meta.get("namespace", "default")
    if work.lab.cluster.get("apps/v1", "Deployment", meta["name"], namespace):
        work.lab.cluster.wait_deployment(namespace, meta["name"], _POD_LIMIT_S)
