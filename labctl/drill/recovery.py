"""Bring a lab back: look at the world first, then at the journal. Idempotent, and verified step by step.

What could not be restored is a leftover, and so is each check that the lab fails in the end. An intent is closed when
nothing is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from labctl import hello, process
from labctl.drill import workload
from labctl.drill.api_faults import back_in_service, out_of_zone, uncordon
from labctl.drill.declare import NAMESPACE
from labctl.drill.descheduler import remove_rights
from labctl.drill.faults import Hit
from labctl.drill.journal import Intent, Journal
from labctl.drill.lab import Document, DrillLab
from labctl.drill.node_faults import NODE_FAULTS, heal_all
from labctl.drill.registry import faults
from labctl.drill.scheduling import remove_classes
from labctl.errors import LabError, command_for
from labctl.events import Emit, Progress
from labctl.kube.objects import NOT_READY, UNREACHABLE, Pod
from labctl.providers.base import Machine

_NODE_LIMIT_S = 300.0
_POD_LIMIT_S = 120.0
_CALM_S = 75.0
_CALM_TICK_S = 2.0
_TAINTS = {UNREACHABLE, NOT_READY}


@dataclass(frozen=True)
class Recovery:
    """What `recover` did, and what it could not do."""

    switched_on: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    """what was undone on machines and nodes, as ``kubelet-stop on NAME``"""
    restored: tuple[str, ...] = ()
    """pods that were put back"""
    leftovers: tuple[str, ...] = ()


@dataclass
class _Work:
    """A recovery under way."""

    lab: DrillLab
    emit: Emit
    switched_on: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """machines that cannot come back by being waited for"""

    def attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Do `action`; if it fails, `what` is a leftover and the others still have their turn."""
        try:
            action()
        except LabError as error:
            self.leftovers.append(f"{what}: {error}" + (f" → {error.hint}" if error.hint else ""))
            return False
        return True


def recover(lab: DrillLab, emit: Emit) -> Recovery:
    """Switch on what is off, wait for the nodes, remove the drill's namespace, put labctl's own bare pods back.

    Nobody waits for a machine that cannot come: it is a leftover, and the others are brought back.
    """
    work = _Work(lab, emit)
    journal = Journal(lab.journal, lab.name)
    intents = journal.open_intents()
    machines = {machine.name: machine for machine in lab.power.machines()}
    for name in sorted({*machines, *lab.machine_names}):
        if not work.attempt(name, partial(_switch_on, work, name, machines.get(name))):
            work.lost.add(name)
    if any(machine.role == "control-plane" for name, machine in machines.items() if name not in work.lost):
        _recover_cluster(work, [name for name in machines if name not in work.lost], intents)
    else:
        work.leftovers.append("the cluster: no control plane is on")
    if not work.leftovers:
        work.leftovers += _findings(work)
    if not work.leftovers:
        for intent in intents:
            journal.close(intent)
    return Recovery(tuple(work.switched_on), tuple(work.undone), tuple(work.restored), tuple(work.leftovers))


def _findings(work: _Work) -> list[str]:
    """What `verify` finds after all. Some of it goes with time: a crash counts for a minute (NODE-006)."""
    end, was_said = work.lab.clock.now() + _CALM_S, False
    while (found := work.lab.verify()) and work.lab.clock.now() < end:
        if not was_said:
            work.emit(Progress(f"waiting up to {_CALM_S:.0f} s, for some findings go with time: {'; '.join(found)}"))
            was_said = True
        work.lab.clock.sleep(_CALM_TICK_S)
    return found


def _recover_cluster(work: _Work, names: Sequence[str], intents: Sequence[Intent]) -> None:
    """What is done once the machines `names` are on."""
    work.attempt("the API", partial(_wait_for_api, work))
    for intent in reversed(intents):
        # What is inside a machine is undone there, further down, whatever the journal says.
        if intent.fault in faults() and intent.fault not in NODE_FAULTS and intent.machine in names:
            work.attempt(f"{intent.fault} of {intent.machine}", partial(_heal, work, intent))
    for name in names:
        _heal_machine(work, name)
        work.attempt(f"node {name}", partial(_unmark, work, name))
    work.attempt("nodes", partial(_wait_for_nodes, work, names, intents))
    work.attempt(f"namespace {NAMESPACE}", partial(_remove_namespace, work))
    work.attempt("priority classes and roles", partial(_remove_clusterwide, work))
    for name in sorted({name for intent in intents for name in intent.restore}):
        work.attempt(f"pod {name}", partial(_put_back, work, name))
    for document in work.lab.hello:
        # With a lost machine it is Kubernetes' own time until its pods are elsewhere.
        if document["kind"] == "Deployment" and not work.lost:
            name = document["metadata"]["name"]
            work.attempt(f"deployment {name}", partial(_wait_for_deployment, work, document))


def broken(lab: str, journal: Path, machines: Iterable[Machine]) -> list[str]:
    """Sentences about what a drill left behind on `lab`, for `labctl status`; none if the lab is whole."""
    again = command_for(lab, "recover")
    sentences = [
        f"the drill {_words(intent)} was not undone: {again}" for intent in Journal(journal, lab).open_intents()
    ]
    return sentences + [f"{m.name} is {m.power}: {again}" for m in machines if m.power in {"off", "paused"}]


def running(lab: str, journal: Path) -> str:
    """The drill on `lab` whose labctl lives, in words; nothing if there is none. The lab's lock must be held by it."""
    alive = [intent for intent in Journal(journal, lab).open_intents() if process.is_alive(intent.pid)]
    return _words(alive[-1]) if alive else ""


def _words(intent: Intent) -> str:
    what = f"{intent.fault} of {intent.machine}" if intent.machine else f"namespace {NAMESPACE}"
    return f"{intent.drill} of {intent.intended_at} ({what})"


def _switch_on(work: _Work, name: str, machine: Machine | None) -> None:
    power = machine.power if machine else "gone"
    again = command_for(work.lab.name, "recover")
    if power == "gone":
        raise LabError("the machine is gone", f"{command_for(work.lab.name, 'up')} makes it again, then {again}")
    if power == "on":
        return
    work.emit(Progress(f"{name} is {power}: switching it on"))
    try:
        work.lab.power.power_on(name)
    except LabError as error:
        raise LabError(f"it cannot be switched on: {error}", f"{error.hint or 'mend that'}; then {again}") from error
    now = work.lab.power.power(name)
    if now != "on":
        see = command_for(work.lab.name, "logs")
        raise LabError(f"it is {now} after it was switched on", f"{see} collects the reason; then {again}")
    work.switched_on.append(name)


def _wait_for_api(work: _Work) -> None:
    """Until the API server answers: a control plane that was just switched on takes its time."""
    end = work.lab.clock.now() + _NODE_LIMIT_S * work.lab.patience
    while True:
        try:
            work.lab.cluster.nodes()
        except LabError:
            if work.lab.clock.now() >= end:
                raise
            work.lab.clock.sleep(0.5)
        else:
            return


def _heal(work: _Work, intent: Intent) -> None:
    """What the journal knows of: the fault's own undo, which may find nothing to do."""
    faults()[intent.fault].heal(work.lab, Hit(intent.machine, before=intent.before))


def _heal_machine(work: _Work, name: str) -> None:
    """Undo what faults did inside a machine, whatever the journal says, and take their timers away."""
    try:
        undone = heal_all(work.lab.run_on, name)
    except LabError as error:
        work.emit(Progress(f"{name} is not reached: {error}"))  # its node tells whether that matters
        return
    if undone:
        work.emit(Progress(f"{name}: undid {' and '.join(undone)}"))
        work.undone += [f"{what} on {name}" for what in undone]


def _unmark(work: _Work, name: str) -> None:
    """Undo what drills did to the Node, whatever the journal says: they mark what they do."""
    undos = {"cordon": uncordon, "zone": out_of_zone, "out-of-service": back_in_service}
    for what, undo in undos.items():
        if undo(work.lab, name):
            work.emit(Progress(f"{name}: undid {what}"))
            work.undone.append(f"{what} on {name}")


def _wait_for_nodes(work: _Work, names: Sequence[str], intents: Sequence[Intent]) -> None:
    """Until the nodes `names` are Ready and accept pods as before; says what it waits for, whenever that changes.

    A node that was off must answer itself: what the API says of it may be from before.
    """
    doubtful = {intent.machine for intent in intents} | set(work.switched_on)
    silent = sorted(doubtful & set(names))
    end = work.lab.clock.now() + _NODE_LIMIT_S * work.lab.patience
    said = ""
    while trouble := _trouble(work.lab, names, silent):
        if trouble != said:
            work.emit(Progress(f"waiting: {trouble}"))
            said = trouble
        if work.lab.clock.now() >= end:
            see = command_for(work.lab.name, "logs")
            raise LabError(
                f"waited {_NODE_LIMIT_S * work.lab.patience:.0f} s: {trouble}", f"{see} collects what the machines say"
            )
        work.lab.clock.sleep(0.5)


def _trouble(lab: DrillLab, names: Sequence[str], silent: list[str]) -> str:
    """What the nodes `names` still lack: an answer (of those in `silent`, until they gave it), Ready, their network."""
    try:
        while silent:
            lab.cluster.node_configz(silent[0])
            silent.pop(0)
        nodes = {node.name: node for node in lab.cluster.nodes()}
        daemons = [pod for pod in lab.cluster.pods("kube-system") if pod.owner_kind == "DaemonSet" and not pod.ready]
    except LabError as error:
        return f"the kubelet of {silent[0]} does not answer: {error}" if silent else str(error)
    for name in names:
        node = nodes.get(name)
        if node is None or not node.ready:
            return f"{name} is not Ready: {node.why_not_ready() if node else 'not registered'}"
    tainted = [name for name in names if any(taint.key in _TAINTS for taint in nodes[name].taints)]
    if tainted:
        return f"{', '.join(tainted)}: still tainted as dead"
    return "; ".join(f"{pod.name} on {pod.node}: {pod.why_not_ready()}" for pod in daemons if pod.node in names)


def _remove_namespace(work: _Work) -> None:
    cluster = work.lab.cluster
    space = cluster.get("v1", "Namespace", NAMESPACE)
    if not space or not workload.OWNED.items() <= (space["metadata"].get("labels") or {}).items():
        return
    stuck = _on_lost(work, cluster.pods(NAMESPACE))
    if stuck:
        cluster.delete([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
        raise LabError(f"goes with its pods, and {stuck} cannot say that they ended")
    cluster.delete_namespace(NAMESPACE, _POD_LIMIT_S)


def _remove_clusterwide(work: _Work) -> None:
    """What drills made that is in no namespace, whatever the journal says."""
    classes = [f"priority class {name}" for name in remove_classes(work.lab)]
    for what in (*classes, *remove_rights(work.lab)):
        work.emit(Progress(f"removed the {what}"))
        work.undone.append(f"the {what}")


def _on_lost(work: _Work, pods: Iterable[Pod]) -> str:
    """The lost machines that have some of `pods`."""
    return ", ".join(sorted({pod.node for pod in pods} & work.lost))


def _put_back(work: _Work, full_name: str) -> None:
    """Apply labctl's own bare pod again once the old one is gone."""
    namespace, name = full_name.split("/")
    cluster = work.lab.cluster
    old = [pod for pod in cluster.pods(namespace) if pod.name == name]
    stuck = _on_lost(work, old)
    if stuck:
        raise LabError(f"the old one is still on {stuck}")
    documents = [hello.as_kubectl(d) for d in work.lab.hello if d["kind"] == "Pod" and d["metadata"]["name"] == name]
    if any(pod.has_ended for pod in old):
        cluster.delete(documents)
    if any(pod.has_ended or pod.deletion_timestamp for pod in old):
        cluster.wait_pod_gone(namespace, name, _POD_LIMIT_S)
    if cluster.apply(documents):
        work.restored.append(full_name)
    cluster.wait_pod_ready(namespace, name, _POD_LIMIT_S)


def _wait_for_deployment(work: _Work, document: Document) -> None:
    meta = document["metadata"]
    namespace = meta.get("namespace", "default")
    if work.lab.cluster.get("apps/v1", "Deployment", meta["name"], namespace):
        work.lab.cluster.wait_deployment(namespace, meta["name"], _POD_LIMIT_S)
