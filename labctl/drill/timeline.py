"""A history, read entry by entry into what happened when. The run feeds it live, the judge from the file.

All instants are ``t`` of the history. Durations are made of them only here and in the judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labctl.drill.history import Entry
from labctl.drill.model import Plan, StageName
from labctl.kube.objects import NOT_READY, UNREACHABLE

_TAINTS = {UNREACHABLE, NOT_READY}


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
class Timeline:
    """What the history says so far, as seen with `plan` in mind."""

    plan: Plan
    utc: str = ""
    """when t = 0 was"""
    last: float = 0.0
    """of the newest entry"""
    phases: dict[str, float] = field(default_factory=dict)
    marks: dict[StageName, float] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    gaps: list[Entry] = field(default_factory=list)
    crashes: list[Entry] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    called: float | None = None
    """when the fault was asked for"""
    call_done: float | None = None
    proven: bool | None = None
    healed: float | None = None
    """when the heal was asked for"""
    beacon_misses: int = 0
    """missed in a row until now"""
    last_alive: float | None = None
    """the last sign of life before the proof"""
    first_silent: float | None = None
    bare_evicted: float | None = None
    bare_gone: float | None = None
    bare_again: list[str] = field(default_factory=list)
    _pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    evicted: dict[str, float] = field(default_factory=dict)
    """when each of the Deployment's lost pods was asked to go, by uid"""

    def feed(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.last = entry["t"]
        handler = getattr(self, f"_on_{entry['kind'].replace('-', '_')}", None)
        if handler:
            handler(entry)

    @property
    def fault(self) -> float | None:
        """When the machine died: its last sign of life after the call, or else the call."""
        if self.called is None:
            return None
        return max(self.called, self.last_alive or self.called)

    @property
    def fault_uncertainty_s(self) -> float | None:
        """How much later than `fault` it may have died."""
        latest = [t for t in (self.call_done, self.first_silent) if t is not None]
        if self.fault is None or not latest:
            return None
        return max(0.0, min(latest) - self.fault)

    def since_fault(self, name: StageName) -> float | None:
        """Seconds from the fault (`returned`: from the heal) to the stage."""
        start = self.healed if name == "returned" else self.fault
        mark = self.marks.get(name)
        return None if start is None or mark is None else mark - start

    # -- one method a kind of entry

    def _on_run(self, entry: Entry) -> None:
        self.utc = entry["utc"]

    def _on_phase(self, entry: Entry) -> None:
        self.phases[entry["name"]] = entry["t"]

    def _on_fault(self, entry: Entry) -> None:
        step = entry["step"]
        if step == "call":
            self.called = entry["t"]
        elif step == "done":
            self.call_done = entry["t"]
        else:
            self.proven = step == "proof"

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
        self.beacon_misses = 0 if entry["ok"] else self.beacon_misses + 1
        if self.proven is not None:
            return
        if entry["ok"]:
            self.last_alive = entry["t"]
            self.first_silent = None
        elif self.first_silent is None:
            self.first_silent = entry["t"]

    def _on_request(self, entry: Entry) -> None:
        self.requests.append(Request(entry["stream"], entry["intended"], entry["done"], entry["class"]))

    def _on_watch(self, entry: Entry) -> None:
        if entry["what"] == "nodes":
            self._node(entry["t"], entry["object"])
        elif entry["what"] == "pods":
            self._pod(entry["t"], entry["change"], entry["object"])

    # -- objects

    def _mark(self, name: StageName, t: float) -> None:
        self.marks.setdefault(name, t)

    def _node(self, t: float, node: dict[str, Any]) -> None:
        if node["name"] != self.plan.victim or self.called is None:
            return
        if self.healed is not None:
            if node["ready"] and "not_ready" in self.marks:
                self._mark("returned", t)
            return
        if not node["ready"]:
            self._mark("not_ready", t)
        if any(taint["key"] in _TAINTS and taint["effect"] == "NoExecute" for taint in node["taints"]):
            self._mark("tainted", t)

    def _pod(self, t: float, change: str, pod: dict[str, Any]) -> None:
        plan, uid = self.plan, pod["uid"]
        if pod["namespace"] != plan.drill.namespace:
            return
        is_leaving = bool(pod["deletion_timestamp"]) or change == "DELETED"
        if pod["name"] == plan.bare.name:
            self._bare(t, change, pod, is_leaving=is_leaving)
        if not plan.selector.items() <= pod["labels"].items():
            return
        self._pods[uid] = {} if is_leaving else pod
        if self.called is None or self.healed is not None:
            return
        if is_leaving and any(lost.uid == uid for lost in plan.lost):
            self.evicted.setdefault(uid, t)
        if plan.lost and len(self.evicted) == len(plan.lost):
            self._mark("evicted", t)
            if self._serving() >= plan.replicas:
                self._mark("replaced", t)

    def _bare(self, t: float, change: str, pod: dict[str, Any], *, is_leaving: bool) -> None:
        if pod["uid"] != self.plan.bare.uid:
            self.bare_again.append(f"{pod['name']} on {pod['node'] or 'no node yet'}")
            return
        if is_leaving and self.called is not None and self.bare_evicted is None:
            self.bare_evicted = t
        if change == "DELETED":
            self.bare_gone = t

    def _serving(self) -> int:
        """Ready pods of the Deployment that are not on the victim."""
        return sum(1 for pod in self._pods.values() if pod and pod["ready"] and pod["node"] != self.plan.victim)
