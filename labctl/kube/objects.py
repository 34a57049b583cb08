"""What labctl knows of Kubernetes objects: frozen values made from the API's JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"


@dataclass(frozen=True)
class Condition:
    """A condition of a node, pod or deployment."""

    type: str
    status: str
    reason: str = ""
    message: str = ""

    @classmethod
    def parse(cls, raw: Json) -> Condition:
        """From one entry of ``status.conditions``."""
        return cls(raw["type"], raw["status"], raw.get("reason", ""), raw.get("message", ""))


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True)
class Node:
    """A node; `ready` is None while Kubernetes does not know (no heartbeat)."""

    name: str
    uid: str
    ready: bool | None
    version: str
    internal_ip: str
    taints: tuple[Taint, ...]
    conditions: tuple[Condition, ...]
    labels: Mapping[str, str]
    unschedulable: bool

    @classmethod
    def parse(cls, raw: Json) -> Node:
        """From the API's JSON."""
        spec, status, meta = raw.get("spec", {}), raw.get("status", {}), raw["metadata"]
        conditions = _conditions(status)
        addresses = {a["type"]: a["address"] for a in status.get("addresses", [])}
        return cls(
            name=meta["name"],
            uid=meta.get("uid", ""),
            ready={"True": True, "False": False}.get(status_of(conditions, "Ready")),
            version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
            internal_ip=addresses.get("InternalIP", ""),
            taints=tuple(Taint(t["key"], t["effect"], t.get("value", "")) for t in spec.get("taints") or []),
            conditions=conditions,
            labels=meta.get("labels") or {},
            unschedulable=bool(spec.get("unschedulable")),
        )

    def has_taint(self, key: str, effect: str) -> bool:
        """Whether the taint `key` with `effect` is on the node."""
        return any(t.key == key and t.effect == effect for t in self.taints)

    @property
    def accepts_pods(self) -> bool:
        """Whether a pod without special tolerations may be scheduled here now."""
        blocked = any(t.effect in {"NoSchedule", "NoExecute"} for t in self.taints)
        return self.ready is True and not self.unschedulable and not blocked

    def why_not_ready(self) -> str:
        """The Ready condition in words."""
        return describe(self.conditions, "Ready")


@dataclass(frozen=True)
class Pod:
    """A pod. `unreachable_s`, `not_ready_s`: seconds it tolerates that taint, 0 not at all, None for ever."""

    name: str
    namespace: str
    uid: str
    node: str
    ip: str
    phase: str
    ready: bool
    owner_kind: str
    owner_name: str
    created: str
    deletion_timestamp: str
    labels: Mapping[str, str]
    conditions: tuple[Condition, ...]
    unreachable_s: float | None
    not_ready_s: float | None
    restarts: int
    waiting: str = ""

    @property
    def has_ended(self) -> bool:
        """All its containers ended for good: a kubelet never starts it again."""
        return self.phase in ("Succeeded", "Failed")

    @classmethod
    def parse(cls, raw: Json) -> Pod:
        """From the API's JSON."""
        meta, spec, status = raw["metadata"], raw.get("spec", {}), raw.get("status", {})
        owner: Json = next((o for o in meta.get("ownerReferences", []) if o.get("controller")), {})
        conditions = _conditions(status)
        tolerations = spec.get("tolerations") or []
        containers = status.get("containerStatuses") or []
        return cls(
            name=meta["name"],
            namespace=meta.get("namespace", ""),
            uid=meta.get("uid", ""),
            node=spec.get("nodeName", ""),
            ip=status.get("podIP", ""),
            phase=status.get("phase", ""),
            ready=status_of(conditions, "Ready") == "True",
            owner_kind=owner.get("kind", ""),
            owner_name=owner.get("name", ""),
            created=meta.get("creationTimestamp") or "",
            deletion_timestamp=meta.get("deletionTimestamp") or "",
            labels=meta.get("labels") or {},
            conditions=conditions,
            unreachable_s=_tolerated_s(tolerations, UNREACHABLE),
            not_ready_s=_tolerated_s(tolerations, NOT_READY),
            restarts=sum(c.get("restartCount", 0) for c in containers),
            waiting="; ".join(w for w in map(_waiting, containers) if w),
        )

    def why_not_ready(self) -> str:
        """Phase, Ready condition and what containers wait for, in words."""
        return ", ".join(part for part in (self.phase, describe(self.conditions, "Ready"), self.waiting) if part)


@dataclass(frozen=True)
class Endpoint:
    """One address behind a Service."""

    address: str
    pod: str
    node: str
    ready: bool


@dataclass(frozen=True)
class EndpointSlice:
    """Addresses of the Service `service`."""

    name: str
    namespace: str
    service: str
    endpoints: tuple[Endpoint, ...]

    @classmethod
    def parse(cls, raw: Json) -> EndpointSlice:
        """From the API's JSON."""
        meta = raw["metadata"]
        return cls(
            name=meta["name"],
            namespace=meta.get("namespace", ""),
            service=(meta.get("labels") or {}).get("kubernetes.io/service-name", ""),
            endpoints=tuple(
                Endpoint(
                    address=(e.get("addresses") or [""])[0],
                    pod=(e.get("targetRef") or {}).get("name", ""),
                    node=e.get("nodeName") or "",
                    ready=(e.get("conditions") or {}).get("ready") is not False,
                )
                for e in raw.get("endpoints") or []
            ),
        )


@dataclass(frozen=True)
class KubeEvent:
    """A Kubernetes Event: what a component says of an object."""

    name: str
    namespace: str
    reason: str
    message: str
    about_kind: str
    about_name: str
    source: str

    @classmethod
    def parse(cls, raw: Json) -> KubeEvent:
        """From the API's JSON (core/v1)."""
        about = raw.get("involvedObject") or {}
        return cls(
            name=raw["metadata"]["name"],
            namespace=raw["metadata"].get("namespace", ""),
            reason=raw.get("reason") or "",
            message=raw.get("message") or "",
            about_kind=about.get("kind", ""),
            about_name=about.get("name", ""),
            source=(raw.get("source") or {}).get("component") or raw.get("reportingComponent") or "",
        )


@dataclass(frozen=True)
class Lease:
    """A node's heartbeat: the kubelet renews it. `renewed` is the kubelet's clock, never to be subtracted from ours."""

    name: str
    namespace: str
    renewed: str

    @classmethod
    def parse(cls, raw: Json) -> Lease:
        """From the API's JSON (coordination.k8s.io/v1)."""
        meta = raw["metadata"]
        return cls(meta["name"], meta.get("namespace", ""), (raw.get("spec") or {}).get("renewTime") or "")


def status_of(conditions: Sequence[Condition], kind: str) -> str:
    """``True``, ``False``, ``Unknown``, or the empty text if the condition is not there."""
    return next((c.status for c in conditions if c.type == kind), "")


def describe(conditions: Sequence[Condition], kind: str) -> str:
    """A condition in words: ``Ready=False KubeletNotReady: cni plugin not initialized``."""
    for c in conditions:
        if c.type == kind:
            because = ": ".join(part for part in (c.reason, c.message) if part)
            return f"{kind}={c.status} {because}".rstrip()
    return f"{kind} not reported yet"


def _conditions(status: Json) -> tuple[Condition, ...]:
    return tuple(Condition.parse(c) for c in status.get("conditions") or [])


def _waiting(container: Json) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    return ": ".join(part for part in (waiting.get("reason", ""), waiting.get("message", "")) if part)


def _tolerated_s(tolerations: Sequence[Json], taint: str) -> float | None:
    """What the taint-eviction controller grants: the first toleration that matches a NoExecute taint `taint`."""
    for t in tolerations:
        is_key = t.get("key") == taint or (not t.get("key") and t.get("operator") == "Exists")
        is_value = t.get("operator") == "Exists" or not t.get("value")
        if is_key and is_value and t.get("effect") in {None, "", "NoExecute"}:
            seconds = t.get("tolerationSeconds")
            return None if seconds is None else max(0.0, float(seconds))
    return 0.0
