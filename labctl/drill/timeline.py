"""A history, read entry by entry into what happened when. The run feeds it live, the judge from the file.

All instants are ``t`` of the history. Durations are made of them only here and in the judge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from labctl.drill.history import Entry
from labctl.drill.model import Plan, StageName, Tracked
from labctl.drill.workload import HIGH, PART
from labctl.kube.objects import NOT_READY, UNREACHABLE

_TAINTS = {UNREACHABLE, NOT_READY}
Mark = tuple[StageName, str]
"""a stage and its subject"""


@dataclass(frozen=True)
class Request:
    """A request of a probe stream."""

    stream: str
    intended: float
    done: float
    kind: str

    @property
    def is_ok(self) -> bool:
        """Whether it was answered well. Everything else is a failure."""
        return self.kind == "ok"


@dataclass
class Life:
    """A machine's own signs of life."""

    missed: int = 0
    """in a row until now"""
    last_alive: float | None = None
    """the last sign of life before the proof"""
    first_silent: float | None = None


@dataclass
class Timeline:
    """What the history says so far, as seen with `plan` in mind."""

    plan: Plan
    utc: str = ""
    """when t = 0 was"""
    last: float = 0.0
    """of the newest entry"""
    phases: dict[str, float] = field(default_factory=dict)
    marks: dict[Mark, float] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    gaps: list[Entry] = field(default_factory=list)
    crashes: list[Entry] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    undone: dict[str, float] = field(default_factory=dict)
    """when the last undo in the middle of the run was asked for, by machine"""
    preempted: set[str] = field(default_factory=set)
    """names of pods that the scheduler removed for one of higher priority"""
    said_so: set[str] = field(default_factory=set)
    """victims whose own kubelet said that they are not Ready"""
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    steps: list[Entry] = field(default_factory=list)
    """what was done, proven, not proven, and undone in the middle"""
    called: float | None = None
    """when the first fault was asked for"""
    call_done: float | None = None
    healed: float | None = None
    """when the heal was asked for"""
    lives: dict[str, Life] = field(default_factory=dict)
    heartbeats: dict[str, float] = field(default_factory=dict)
    """when the last renewal of each victim's lease arrived, before it was NotReady or the heal"""
    evicted: dict[str, float] = field(default_factory=dict)
    """when each lost pod of the workload was asked to go, by uid"""
    gone: set[str] = field(default_factory=set)
    """uids of lost pods that are no more"""
    again: dict[str, list[str]] = field(default_factory=dict)
    """new pods by the same name as a part's lost one, by part"""
    moved_back: list[str] = field(default_factory=list)
    came_back: dict[str, float] = field(default_factory=dict)
    """when the Deployment's pods were first seen on a machine that returned before the heal, as ``POD on NODE``"""
    before_rebalance: dict[str, int] = field(default_factory=dict)
    """the Deployment's pods by node, as they were when the descheduler was asked"""
    seen_pods: set[str] = field(default_factory=set)
    """names of all pods that were ever seen in the drill's namespace"""
    conditions: dict[str, float] = field(default_factory=dict)
    """when a victim's condition other than Ready became True"""
    _pods: dict[str, dict[str, Any]] = field(default_factory=dict)

    def feed(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.last = entry["t"]
        handler = getattr(self, f"_on_{entry['kind'].replace('-', '_')}", None)
        if handler:
            handler(entry)

    def misses(self, machine: str) -> int:
        """How many signs of life of `machine` were missed in a row until now."""
        return self.lives[machine].missed if machine in self.lives else 0

    @property
    def proven(self) -> bool | None:
        """None before the first fault's proof; False if any step was not proven."""
        said = [step["step"] for step in self.steps if step["step"] in ("proof", "no-proof")]
        return None if not said else "no-proof" not in said

    @property
    def fault(self) -> float | None:
        """When it happened: a silenced machine's last sign of life after the call, or else the call."""
        if self.called is None:
            return None
        ends = [life.last_alive for life in self._silenced() if life.last_alive is not None]
        return max([self.called, *ends[:1]])

    @property
    def fault_uncertainty_s(self) -> float | None:
        """How much later than `fault` it may have happened."""
        silent = [life.first_silent for life in self._silenced()[:1]]
        latest = [t for t in (self.call_done, *silent) if t is not None]
        if self.fault is None or not latest:
            return None
        return max(0.0, min(latest) - self.fault)

    def since_fault(self, name: StageName, subject: str) -> float | None:
        """Seconds from the fault (`returned`: from its undo, the heal as a rule) to the stage."""
        mark = self.marks.get((name, subject))
        if mark is None:
            return None
        start = self.return_asked(subject) if name == "returned" else self.fault
        return None if start is None else mark - start

    def has(self, name: StageName) -> bool:
        """Whether the stage was seen, of whatever subject."""
        return any(mark == name for mark, _ in self.marks)

    def return_asked(self, machine: str) -> float | None:
        """When the undo was asked for that `machine` answered by its return: the heal as a rule."""
        mark = self.marks.get(("returned", machine), self.last)
        asked = [t for t in (self.undone.get(machine), self.healed) if t is not None and t <= mark]
        return max(asked, default=None)

    def _silenced(self) -> list[Life]:
        """The machines that the first step silences."""
        steps = self.plan.steps[:1]
        return [self.lives[m] for step in steps if step.is_silencing for m in step.machines if m in self.lives]

    # -- one method a kind of entry

    def _on_run(self, entry: Entry) -> None:
        self.utc = entry["utc"]

    def _on_phase(self, entry: Entry) -> None:
        self.phases[entry["name"]] = entry["t"]

    def _on_fault(self, entry: Entry) -> None:
        self.steps.append(entry)
        step = entry["step"]
        if step == "call" and entry.get("fault") == "descheduler":
            self.before_rebalance = self.places("deployment")
        if step == "call" and self.called is None:
            self.called = entry["t"]
        elif step == "done" and self.call_done is None:
            self.call_done = entry["t"]
        elif step == "undo":
            self.undone |= dict.fromkeys(entry["machines"], entry["t"])

    def _on_heal(self, entry: Entry) -> None:
        if entry["step"] == "call":
            self.healed = entry["t"]

    def _on_gap(self, entry: Entry) -> None:
        self.gaps.append(entry)

    def _on_crash(self, entry: Entry) -> None:
        self.crashes.append(entry)

    def _on_leftover(self, entry: Entry) -> None:
        self.leftovers.append(entry["text"])

    def _on_snapshot(self, entry: Entry) -> None:
        self.snapshots[entry["name"]] = entry["pods"]

    def _on_beacon(self, entry: Entry) -> None:
        life = self.lives.setdefault(entry["machine"], Life())
        life.missed = 0 if entry["ok"] else life.missed + 1
        if self.proven is not None:
            return
        if entry["ok"]:
            life.last_alive, life.first_silent = entry["t"], None
        elif life.first_silent is None:
            life.first_silent = entry["t"]

    def _on_request(self, entry: Entry) -> None:
        self.requests.append(Request(entry["stream"], entry["intended"], entry["done"], entry["class"]))

    def _on_watch(self, entry: Entry) -> None:
        if entry["what"] == "nodes":
            self._node(entry["t"], entry["change"], entry["object"])
        elif entry["what"] == "pods":
            self._pod(entry["t"], entry["change"], entry["object"])
        elif entry["what"] == "events" and entry["object"]["reason"] == "Preempted":
            self.preempted.add(entry["object"]["about_name"])
        elif entry["what"] == "leases":
            self._lease(entry["t"], entry["object"]["name"])

    # -- objects

    def _mark(self, name: StageName, subject: str, t: float) -> None:
        self.marks.setdefault((name, subject), t)

    def _node(self, t: float, change: str, node: dict[str, Any]) -> None:
        name = node["name"]
        if name not in self.plan.victim_names or self.called is None or change == "DELETED":
            return
        is_undone = self.healed is not None or name in self.undone
        if is_undone and node["ready"] and ("not_ready", name) in self.marks:
            self._mark("returned", name, t)
        if self.healed is not None:
            return
        if not node["ready"]:
            self.marks.pop(("returned", name), None)  # lost once more
            self._mark("not_ready", name, t)
            if node["ready"] is False:
                self.said_so.add(name)
        if any(taint["key"] in _TAINTS and taint["effect"] == "NoExecute" for taint in node["taints"]):
            self._mark("tainted", name, t)
        for condition in node["conditions"]:
            if condition["status"] == "True" and condition["type"] != "Ready":
                self.conditions.setdefault(condition["type"], t)

    def _lease(self, t: float, name: str) -> None:
        if self.healed is None and name in self.plan.victim_names and ("not_ready", name) not in self.marks:
            self.heartbeats[name] = t

    def _pod(self, t: float, change: str, pod: dict[str, Any]) -> None:
        if pod["namespace"] != self.plan.drill.namespace:
            return
        self.seen_pods.add(pod["name"])
        part = pod["labels"].get(PART, "")
        if tracked := self.plan.part(part):
            self._part(t, change, pod, tracked)
        elif part == HIGH and pod["ready"] and self.called is not None:
            self._mark("preempted", HIGH, t)

    def _part(self, t: float, change: str, pod: dict[str, Any], tracked: Tracked) -> None:
        """A pod of the workload."""
        uid, part = pod["uid"], tracked.part
        # A kubelet that is short of something ends pods, with or without success, and others are made.
        has_ended = pod["phase"] in ("Failed", "Succeeded")
        is_leaving = bool(pod["deletion_timestamp"]) or change == "DELETED" or has_ended
        is_lost = any(lost.uid == uid for lost in tracked.lost)
        self._pods[uid] = {} if is_leaving else pod
        if not is_lost and any(lost.name == pod["name"] for lost in tracked.lost):
            self._came_again(part, pod)
        if is_lost and is_leaving and self.called is not None and self.healed is None:
            self.evicted.setdefault(uid, t)
        if is_lost and change == "DELETED":
            self.gone.add(uid)
        if self.called is None:
            return
        if self.healed is not None:
            self._after_heal(pod, part, is_leaving=is_leaving)
            return
        if part == "deployment" and not is_lost and not is_leaving and pod["node"] in self.undone:
            self.came_back.setdefault(f"{pod['name']} on {pod['node']}", t)
            if pod["ready"]:
                self._mark("rebalanced", part, t)
        if tracked.lost and all(lost.uid in self.evicted for lost in tracked.lost):
            self._mark("evicted", part, t)
            if self._serving(part) >= tracked.wanted:
                self._mark("replaced", part, t)

    def _came_again(self, part: str, pod: dict[str, Any]) -> None:
        where = f"{pod['name']} on {pod['node'] or 'no node yet'}"
        seen = self.again.setdefault(part, [])
        if where not in seen:
            seen.append(where)

    def _after_heal(self, pod: dict[str, Any], part: str, *, is_leaving: bool) -> None:
        """A pod that came to life on a victim after its return."""
        before = {p["uid"] for name in ("before", "held") for p in self.snapshots.get(name, [])}
        is_new = pod["node"] in self.plan.victim_names and pod["uid"] not in before and not is_leaving
        where = f"{pod['name']} on {pod['node']}"
        if is_new and part == "deployment" and where not in self.moved_back:
            self.moved_back.append(where)

    def places(self, part: str) -> dict[str, int]:
        """How many pods of the part are on each node now."""
        pods = [pod for pod in self._pods.values() if pod and pod["labels"].get(PART) == part and pod["node"]]
        return dict(Counter(pod["node"] for pod in pods))

    def _serving(self, part: str) -> int:
        """Ready pods of the part that are not the lost ones, and on no machine that is off."""
        lost = {lost.uid for tracked in self.plan.tracked for lost in tracked.lost}
        steps = self.plan.steps[:1]
        dead = {machine for step in steps if step.is_silencing for machine in step.machines}
        pods = [pod for uid, pod in self._pods.items() if pod and uid not in lost and pod["node"] not in {"", *dead}]
        return sum(pod["ready"] and pod["labels"].get(PART) == part for pod in pods)
