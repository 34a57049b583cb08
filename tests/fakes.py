"""A small world on a clock that jumps: machines, a cluster that reacts to their death, probes. No sockets, no threads.

`World` is what really happens; `FakeCluster`, `FakePower` and `FakeObserver` show it as the drill engine's protocols
do. Its knobs make it misbehave.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from labctl.drill import descheduler
from labctl.drill.api_faults import OUT_OF_SERVICE
from labctl.drill.declare import StreamSpec
from labctl.drill.history import History
from labctl.drill.lab import Document, DrillLab, Observer
from labctl.drill.model import Plan
from labctl.drill.workload import HIGH, LOW, PART
from labctl.errors import LabError, ProviderError, TimedOutError
from labctl.kube.objects import UNREACHABLE, Condition, KubeEvent, Node, Pod, Taint
from labctl.kube.watch import Gap, Object, WatchEvent
from labctl.providers.base import Machine, Power
from labctl.topology import Role

MANAGER = (
    "/usr/bin/kube-apiserver\t--default-unreachable-toleration-seconds=10\t\n"
    "/usr/bin/kube-controller-manager\t--node-monitor-grace-period=10s\t--node-monitor-period=1s\t\nsshd: root\t\n"
)
HELLO: tuple[Document, ...] = (
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "hello-world",
            "namespace": "default",
            "labels": {"app.kubernetes.io/managed-by": "labctl"},
        },
        "spec": {"containers": [{"name": "helloworld"}]},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "hello", "namespace": "default", "labels": {}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [{"name": "helloworld"}]}},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"ports": [{"port": 80, "nodePort": 30080}]},
    },
)


OWNERS = {"Deployment": "ReplicaSet", "StatefulSet": "StatefulSet", "DaemonSet": "DaemonSet", "Job": "Job"}


class FakeClock:
    """Sleeping runs what is due and jumps."""

    def __init__(self) -> None:
        self.t = 1000.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.t

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.t + seconds, next(self._order), action))

    def sleep(self, seconds: float) -> None:
        end = self.t + seconds
        while self._due and self._due[0][0] <= end:
            self.t, _, action = heapq.heappop(self._due)
            action()
        self.t = end


@dataclass
class World:
    """What really happens. Times are seconds after the machine's death or its power-on."""

    clock: FakeClock = field(default_factory=FakeClock)
    not_ready_s: float = 9.8
    tainted_s: float = 9.9
    evicted_s: float = 20.1
    replaced_s: float = 21.3
    returned_s: float = 6.0
    power_works: bool = True
    """False: the provider says off, and the machine lives on"""
    power_returns: bool = True
    is_replaced: bool = True
    bare_is_evicted: bool = True
    bare_comes_back: bool = False
    restarts_survivor: bool = False
    gap_in: str = ""
    failing_checks: list[str] = field(default_factory=list)
    api_answers: bool = True
    """False while the control plane is off"""
    machines: dict[str, Machine] = field(default_factory=dict)
    alive: dict[str, bool] = field(default_factory=dict)
    kubelets: dict[str, bool] = field(default_factory=dict)
    """whether the kubelet answers: a while after the machine lives again"""
    stopped: set[str] = field(default_factory=set)
    """machines whose kubelet was stopped"""
    timers: dict[str, float] = field(default_factory=dict)
    """when machines start their kubelet by themselves"""
    cpu: dict[str, int] = field(default_factory=dict)
    """millicores that each node has left to give away; 500 to begin with"""
    preempts: bool = True
    """False: the pod of high priority stays Pending"""
    preempts_others: bool = False
    """True: it is another pod than one of low priority that goes"""
    rebalances: bool = True
    """False: the descheduler evicts nobody"""
    moves_back: bool = False
    """True: a pod moves to a machine as soon as that returns"""
    stop_works: bool = True
    """False: the kubelet runs on, whatever is asked"""
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    watchers: list[tuple[str, Callable[[WatchEvent], None], Callable[[Gap], None]]] = field(default_factory=list)
    _uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def make(cls, workers: int = 2, **knobs: Any) -> World:  # noqa: ANN401
        """One control plane (tainted) and `workers` workers; hello-world's own bare Pod runs on worker 1."""
        world = cls(**knobs)
        world.add_machine("lab-cp-1", "control-plane", "10.0.0.10")
        for number in range(1, workers + 1):
            world.add_machine(f"lab-worker-{number}", "worker", f"10.0.0.{20 + number}")
        world.add_pod("kube-system", "coredns-1", "lab-cp-1", owner="ReplicaSet")
        return world

    def add_machine(self, name: str, role: Role, address: str) -> None:
        taints = (Taint("node-role.kubernetes.io/control-plane", "NoSchedule"),) if role == "control-plane" else ()
        self.machines[name] = Machine(name, role, address, "on")
        self.alive[name] = self.kubelets[name] = True
        ready = (Condition("Ready", "True"),)
        self.nodes[name] = Node(
            name=name,
            uid=f"uid-{name}",
            ready=True,
            version="v1.37.2",
            internal_ip=address,
            taints=taints,
            conditions=ready,
            labels={},
            unschedulable=False,
        )

    def add_pod(
        self,
        namespace: str,
        name: str,
        node: str,
        *,
        owner: str = "",
        labels: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Pod:
        pod = Pod(
            name=name,
            namespace=namespace,
            uid=f"uid-{next(self._uids)}",
            node=node,
            ip="10.244.0.2",
            phase="Running" if ready else "Pending",
            ready=ready,
            owner_kind=owner,
            owner_name="",
            created="",
            deletion_timestamp="",
            labels=labels or {},
            conditions=(),
            unreachable_s=10.0,
            not_ready_s=10.0,
            restarts=0,
        )
        self.pods[pod.uid] = pod
        self.tell("pods", "ADDED", pod)
        return pod

    def change_pod(self, uid: str, **changes: Any) -> None:  # noqa: ANN401
        if uid in self.pods:
            self.pods[uid] = replace(self.pods[uid], **changes)
            self.tell("pods", "MODIFIED", self.pods[uid])

    def drop_pod(self, uid: str) -> None:
        if pod := self.pods.pop(uid, None):
            self.tell("pods", "DELETED", pod)

    def change_node(self, name: str, **changes: Any) -> None:  # noqa: ANN401
        self.nodes[name] = replace(self.nodes[name], **changes)
        self.tell("nodes", "MODIFIED", self.nodes[name])

    def tell(self, kind: str, change: str, thing: Object) -> None:
        for watched, on_event, _ in list(self.watchers):
            if watched == kind:
                on_event(WatchEvent(kind, change, thing, self.clock.now()))

    # -- the scheduler

    def preempt(self, pod: Pod) -> None:
        """A pod of high priority comes: one of low priority makes room, its successor is Pending."""
        part = "deployment" if self.preempts_others else LOW
        loser = next(p for p in self.pods.values() if p.labels.get(PART) == part)
        said = KubeEvent("event", loser.namespace, "Preempted", "", "Pod", loser.name, "default-scheduler")
        self.tell("events", "ADDED", said)
        self.change_pod(loser.uid, deletion_timestamp="2026-01-01T00:00:00Z")
        labels = dict(loser.labels)
        self.add_pod(loser.namespace, f"{loser.name}-new", "", owner="ReplicaSet", labels=labels, ready=False)
        self.clock.after(1, lambda: self.drop_pod(loser.uid))
        self.clock.after(2, lambda: self.change_pod(pod.uid, node=loser.node, ready=True, phase="Running"))

    def rebalance(self) -> None:
        """One pod of the Deployment leaves the fullest node for the emptiest."""
        pods = [p for p in self.pods.values() if p.labels.get(PART) == "deployment" and not p.deletion_timestamp]
        counts = {n.name: sum(p.node == n.name for p in pods) for n in self.nodes.values() if n.accepts_pods}
        full, empty = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        loser = next(pod for pod in pods if pod.node == full)
        self.drop_pod(loser.uid)
        self.add_pod(loser.namespace, f"{loser.name}-moved", empty, owner="ReplicaSet", labels=dict(loser.labels))

    # -- death and return of a machine

    def die(self, name: str) -> None:
        self.alive[name] = self.kubelets[name] = False
        if self.machines[name].role == "worker":
            self._lose(name)
        else:
            self.api_answers = False

    def _lose(self, name: str) -> None:
        doomed = [pod.uid for pod in self.pods.values() if pod.node == name]
        after = self._if_dead(name)
        after(self.not_ready_s, lambda: self._not_ready(name, doomed))
        after(self.tainted_s, lambda: self.change_node(name, taints=(Taint(UNREACHABLE, "NoExecute"),)))
        after(self.evicted_s, lambda: self._evict(doomed))
        if self.is_replaced:
            after(self.replaced_s, lambda: self._replace(name, doomed))
        if self.gap_in:
            after(self.not_ready_s - 2, self._gap)
        if self.restarts_survivor:
            coredns = next(p.uid for p in self.pods.values() if p.name == "coredns-1")
            after(5, lambda: self.change_pod(coredns, restarts=1))

    def _if_dead(self, name: str) -> Callable[[float, Callable[[], None]], None]:
        def after(seconds: float, action: Callable[[], None]) -> None:
            self.clock.after(seconds, lambda: None if self.alive[name] and name not in self.stopped else action())

        return after

    def _not_ready(self, name: str, doomed: Sequence[str]) -> None:
        self.change_node(name, ready=None)
        for uid in doomed:
            self.change_pod(uid, ready=False)

    def _evict(self, doomed: Sequence[str]) -> None:
        for pod in [self.pods[uid] for uid in doomed if uid in self.pods]:
            uid = pod.uid
            if pod.owner_kind == "DaemonSet" or pod.deletion_timestamp:
                continue
            if pod.owner_kind or self.bare_is_evicted:
                self.change_pod(uid, deletion_timestamp="2026-01-01T00:00:00Z")
            if not pod.owner_kind and self.bare_comes_back:
                self.add_pod(pod.namespace, pod.name, "lab-worker-2", labels=dict(pod.labels))

    def _replace(self, dead: str, doomed: Sequence[str], owners: Sequence[str] = ("ReplicaSet", "Job")) -> None:
        room = [n.name for n in self.nodes.values() if n.name != dead and n.accepts_pods]
        for pod in [self.pods[uid] for uid in doomed if uid in self.pods]:
            if pod.owner_kind in owners:
                name = pod.name if pod.owner_kind == "StatefulSet" else f"{pod.name}-new"
                heir = self.add_pod(pod.namespace, name, "", owner=pod.owner_kind, labels=dict(pod.labels))
                if room:
                    self.change_pod(heir.uid, node=room[0])
                else:
                    self.change_pod(heir.uid, ready=False, phase="Pending")

    def fence(self, name: str) -> None:
        """The taint out-of-service: all pods go at once; the StatefulSet's are removed when the node is NotReady."""
        doomed = [pod.uid for pod in self.pods.values() if pod.node == name]
        bound = [uid for uid in doomed if self.pods[uid].owner_kind == "StatefulSet"]
        free = [uid for uid in doomed if uid not in bound]
        self.clock.after(0.2, lambda: self._evict(doomed))
        self.clock.after(1.5, lambda: self._replace(name, free))
        self.clock.after(self.not_ready_s + 5, lambda: self._force(name, bound))

    def _force(self, name: str, bound: Sequence[str]) -> None:
        self._replace(name, bound, owners=("StatefulSet",))
        for uid in bound:
            self.drop_pod(uid)

    def _gap(self) -> None:
        for kind, _, on_gap in self.watchers:
            if kind == self.gap_in:
                on_gap(Gap(kind, self.clock.now() - 1, self.clock.now(), "connection lost"))

    def stop_kubelet(self, name: str) -> None:
        """Its pods serve on."""
        self.stopped.add(name)
        self.kubelets[name] = False
        self._lose(name)

    def start_kubelet(self, name: str) -> None:
        if name in self.stopped:
            self.stopped.remove(name)
            self.clock.after(self.returned_s, lambda: self._back(name))

    def revive(self, name: str) -> None:
        self.alive[name] = True
        self.clock.after(self.returned_s, lambda: self._back(name))

    def _back(self, name: str) -> None:
        self.kubelets[name] = self.api_answers = True
        self.change_node(name, ready=True, taints=())
        for pod in [p for p in self.pods.values() if p.node == name]:
            if pod.deletion_timestamp:
                self.drop_pod(pod.uid)
            else:
                self.change_pod(pod.uid, ready=True)
        if self.moves_back:
            self.rebalance()


class FakePower:
    """The provider's switch."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: list[tuple[str, str]] = []

    def machines(self) -> list[Machine]:
        return list(self.world.machines.values())

    def power_off(self, machine: str) -> None:
        self.calls.append(("off", machine))
        self._set(machine, "off")
        if self.world.power_works:
            self.world.die(machine)

    def power_on(self, machine: str) -> None:
        self.calls.append(("on", machine))
        if not self.world.power_returns:
            raise ProviderError("the engine refuses")
        if self.world.machines[machine].power == "on":
            return
        self._set(machine, "on")
        if not self.world.alive[machine]:
            self.world.revive(machine)

    def power(self, machine: str) -> Power:
        return self.world.machines[machine].power

    def _set(self, machine: str, power: Power) -> None:
        self.world.machines[machine] = replace(self.world.machines[machine], power=power)


class FakeShell:
    """The commands that faults run on machines."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, machine: str, argv: Sequence[str]) -> str:
        world = self.world
        if not world.alive[machine]:
            raise LabError(f"{machine} does not answer")
        if "labctl-fault" not in argv:
            return MANAGER
        verb, *words = argv[5:] or ["heal-all"]
        if verb == "inject":
            return self._stop(machine, float(words[0]))
        if verb == "active":
            return "the kubelet is inactive\n" if machine in world.stopped else ""
        if verb.startswith("heal"):
            was_stopped = machine in world.stopped
            world.timers.pop(machine, None)
            world.start_kubelet(machine)
            return "kubelet-stop\n" if was_stopped and verb == "heal-all" else ""
        return ""

    def _stop(self, machine: str, undo_after_s: float) -> str:
        world = self.world
        world.timers[machine] = world.clock.now() + undo_after_s
        world.clock.after(undo_after_s, lambda: self._undo(machine))
        if world.stop_works:
            world.stop_kubelet(machine)
        return ""

    def _undo(self, machine: str) -> None:
        if self.world.timers.pop(machine, None):
            self.world.start_kubelet(machine)


class FakeCluster:
    """The API of the world's cluster."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lump = False
        """schedule both replicas onto one node"""

    def server_version(self) -> str:
        return "v1.37.2"

    def nodes(self) -> list[Node]:
        self._ask()
        return list(self.world.nodes.values())

    def _ask(self) -> None:
        if not self.world.api_answers:
            raise LabError("the Kubernetes API does not answer")

    def pods(self, namespace: str = "", label: str = "") -> list[Pod]:
        self._ask()
        wanted = dict(pair.split("=") for pair in label.split(",")) if label else {}
        found = [p for p in self.world.pods.values() if not namespace or p.namespace == namespace]
        return [p for p in found if wanted.items() <= p.labels.items()]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        del api_version
        if kind == "Node" and name in self.world.nodes:
            return self._node(self.world.nodes[name])
        return self.world.objects.get((kind, namespace, name))

    @staticmethod
    def _node(node: Node) -> dict[str, Any]:
        taints = [{"key": t.key, "effect": t.effect, "value": t.value} for t in node.taints]
        meta = {"name": node.name, "labels": dict(node.labels), "resourceVersion": "1"}
        images = [{"names": [f"{descheduler.REPOSITORY}:v0.36.0"]}] if node.name == "lab-cp-1" else []
        spec = {"taints": taints, "podCIDR": "10.244.1.0/24"}
        return {"metadata": meta, "spec": spec, "status": {"images": images}}

    def free_cpu(self, node: str) -> int:
        self._ask()
        return self.world.cpu.get(node, 500)

    def node_configz(self, node: str) -> dict[str, Any]:
        if not self.world.kubelets[node]:
            raise LabError(f"no answer from {node}")
        return {"nodeLeaseDurationSeconds": 4}

    def apply(self, documents: Sequence[Document]) -> list[str]:
        changed = []
        for document in documents:
            meta = document["metadata"]
            namespace = meta.get("namespace", "")
            if document["kind"] == "Pod":
                if any(p.name == meta["name"] and p.namespace == namespace for p in self.world.pods.values()):
                    continue
                self._start(document)
            elif meta["name"] == descheduler.NAME and document["kind"] == "Job":
                self.world.clock.after(1, partial(self._deschedule, namespace))
            elif document["kind"] in OWNERS:
                self._deploy(document)
            copied = copy.deepcopy(dict(document))
            for port in copied.get("spec", {}).get("ports", []):
                port.setdefault("nodePort", 31234)
            self.world.objects[document["kind"], namespace, meta["name"]] = copied
            changed.append(meta["name"])
        return changed

    def _deschedule(self, namespace: str) -> None:
        self.world.objects["Job", namespace, descheduler.NAME]["status"] = {"succeeded": 1}
        if self.world.rebalances:
            self.world.rebalance()

    def _start(self, document: Document) -> None:
        world, meta, spec = self.world, document["metadata"], document["spec"]
        is_high = meta["labels"].get(PART) == HIGH
        node = "" if is_high else spec.get("nodeName", "lab-worker-2")
        labels = dict(meta["labels"])
        pod = world.add_pod(meta.get("namespace", ""), meta["name"], node, labels=labels, ready=not is_high)
        if is_high:
            world.clock.after(0.1, lambda: world.preempt(pod) if world.preempts else None)

    def _deploy(self, document: Document) -> None:
        meta, template = document["metadata"], document["spec"]["template"]
        labels = template["metadata"]["labels"]
        owner = OWNERS[document["kind"]]
        nodes = [n.name for n in self.world.nodes.values() if n.accepts_pods]
        nodes = [*template["spec"].get("nodeSelector", {}).values()] or nodes
        spec = document["spec"]
        for number in range(spec.get("replicas", spec.get("parallelism", len(nodes)))):
            node = nodes[0] if self.lump else nodes[number % len(nodes)]
            self.world.add_pod(meta["namespace"], f"{meta['name']}-{number}", node, owner=owner, labels=dict(labels))

    def create(self, document: Document) -> None:
        self.apply([document])

    def patch(self, document: Document, change: Document) -> None:
        name = document["metadata"]["name"]
        if document["kind"] == "Node":
            node = self.world.nodes[name]
            spec, labels = change.get("spec", {}), change.get("metadata", {}).get("labels", {})
            merged = {**node.labels, **labels}
            kept = {key: value for key, value in merged.items() if value is not None}
            is_cordoned = bool(spec.get("unschedulable", node.unschedulable)) if "unschedulable" in spec else None
            cordoned = node.unschedulable if is_cordoned is None else is_cordoned
            taints = tuple(Taint(t["key"], t["effect"], t.get("value", "")) for t in spec.get("taints", ()))
            is_fenced = any(taint.key == OUT_OF_SERVICE for taint in taints)
            self.world.change_node(
                name, labels=kept, unschedulable=cordoned, taints=taints if "taints" in spec else node.taints
            )
            if is_fenced:
                self.world.fence(name)

    def evict(self, namespace: str, name: str) -> bool:
        self.delete([{"kind": "Pod", "metadata": {"name": name, "namespace": namespace}}])
        return True

    def wait_ready(self, kind: str, namespace: str, name: str, wanted: int, timeout_s: float) -> None:
        del kind, timeout_s
        assert len([p for p in self.pods(namespace, f"{PART}={name.removeprefix('hello-')}") if p.ready]) >= wanted

    def delete(self, documents: Sequence[Document]) -> None:
        for document in documents:
            meta = document["metadata"]
            key = (document["kind"], meta.get("namespace", ""), meta["name"])
            there = self.world.objects.get(key)
            if there and key[0] != "Namespace":  # which stays until all in it is gone
                del self.world.objects[key]
            if there and key[0] == "Deployment":
                labels = there["spec"]["selector"]["matchLabels"]
                for pod in [p for p in self.world.pods.values() if labels.items() <= p.labels.items()]:
                    self.world.drop_pod(pod.uid)
            for pod in [p for p in self.world.pods.values() if p.name == meta["name"]]:
                self.world.drop_pod(pod.uid)
                if not pod.owner_kind:
                    continue
                nodes = [n.name for n in self.world.nodes.values() if n.accepts_pods]
                node = pod.node if self.lump else next(n for n in nodes if n != pod.node)
                self.world.add_pod(pod.namespace, f"{pod.name}-b", node, owner="ReplicaSet", labels=dict(pod.labels))

    def delete_namespace(self, name: str, timeout_s: float) -> None:
        del timeout_s
        self.world.objects.pop(("Namespace", "", name), None)
        for pod in [p for p in self.world.pods.values() if p.namespace == name]:
            self.world.drop_pod(pod.uid)

    def wait_deployment(self, namespace: str, name: str, timeout_s: float) -> None:
        labels = self.world.objects["Deployment", namespace, name]["spec"]["selector"]["matchLabels"]

        def ready() -> int:
            pods = [p for p in self.world.pods.values() if p.namespace == namespace and not p.deletion_timestamp]
            return sum(p.ready for p in pods if labels.items() <= p.labels.items())

        self._wait(lambda: ready() >= 2, name, timeout_s)

    def wait_pod_ready(self, namespace: str, name: str, timeout_s: float) -> None:
        self._wait(lambda: any(p.ready and p.name == name for p in self.pods(namespace)), name, timeout_s)

    def wait_pod_gone(self, namespace: str, name: str, timeout_s: float) -> None:
        self._wait(lambda: all(p.name != name for p in self.pods(namespace)), name, timeout_s)

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        end = self.world.clock.now() + timeout_s
        while not condition():
            if self.world.clock.now() >= end:
                raise TimedOutError(f"waited for {what}")
            self.world.clock.sleep(0.5)

    def watch(self, kind: str, on_event: Callable[[WatchEvent], None], on_gap: Callable[[Gap], None]) -> FakeWatch:
        entry = (kind, on_event, on_gap)
        self.world.watchers.append(entry)
        things: list[Object] = [*self.nodes()] if kind == "nodes" else [*self.pods()] if kind == "pods" else []
        for thing in things:
            on_event(WatchEvent(kind, "LISTED", thing, self.world.clock.now()))
        return FakeWatch(self.world, entry)


@dataclass
class FakeWatch:
    """Ends by leaving the list."""

    world: World
    entry: tuple[str, Callable[[WatchEvent], None], Callable[[Gap], None]]

    def stop(self) -> None:
        if self.entry in self.world.watchers:
            self.world.watchers.remove(self.entry)


class FakeObserver:
    """The streams and the beacon of a plan, as the world has them."""

    def __init__(self, world: World, plan: Plan, *, fails_always: bool = False) -> None:
        self.world = world
        self.plan = plan
        self.fails_always = fails_always
        self.is_running = False

    def start(self, history: History) -> None:
        self.is_running = True
        for stream in self.plan.streams:
            self._every(1 / stream.spec.rate, partial(self._request, history, stream.spec))
        self._every(0.2, lambda _: self._beacon(history))

    def stop(self) -> None:
        self.is_running = False

    def _every(self, period_s: float, action: Callable[[int], None], number: int = 0) -> None:
        def fire() -> None:
            if self.is_running:
                action(number)
                self._every(period_s, action, number + 1)

        self.world.clock.after(period_s, fire)

    def _request(self, history: History, spec: StreamSpec, number: int) -> None:
        name = self.plan.victims[0].name
        victim, is_dead = self.world.nodes[name], not self.world.alive[name]
        has_pods = self.plan.victims[0].role == "worker" and victim.ready
        hits_dead = is_dead and (spec.via == "victim" or (has_pods and number % 2 == 0))
        kind = "timeout" if hits_dead or self.fails_always else "ok"
        t = history.since_start(self.world.clock.now())
        fields: dict[str, Any] = {"class": kind, "pod": "", "node": ""}
        history.record("request", stream=spec.name, seq=number, intended=t, sent=t, done=t + 0.002, **fields)

    def _beacon(self, history: History) -> None:
        for name in self.plan.victim_names:
            history.record("beacon", machine=name, ok=self.world.alive[name] and name not in self.world.stopped)


def drill_lab(world: World, folder: Path, *, fails_always: bool = False) -> DrillLab:
    """A lab for the drill engine, all of it fake."""

    def observers(plan: Plan) -> list[Observer]:
        return [FakeObserver(world, plan, fails_always=fails_always)]

    return DrillLab(
        name="lab",
        cluster=FakeCluster(world),
        power=FakePower(world),
        run_on=FakeShell(world),
        journal=folder / "journal.jsonl",
        hello=HELLO,
        observers=observers,
        surroundings=lambda _: {},
        verify=lambda: list(world.failing_checks),
        machine_names=tuple(world.machines),
        clock=world.clock,
    )
