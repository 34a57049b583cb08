"""What keeps an object from being as `Kube` waits for it: a sentence, or nothing. None: there is no such object."""

from __future__ import annotations

from labctl.kube.client import Line
from labctl.kube.objects import Condition, Pod, describe


def is_gone(line: Line | None) -> str:
    """Why it is still there."""
    if line is None:
        return ""
    status = line.object.get("status", {})
    reasons = [Condition.parse(c) for c in status.get("conditions") or []]
    return "; ".join(c.message for c in reasons if c.message) or f"still there, {status.get('phase', '')}"


def pod(line: Line | None) -> str:
    """Why the pod is not Ready."""
    if line is None:
        return "no such pod"
    seen = Pod.parse(line.object)
    return "" if seen.ready else seen.why_not_ready()


def kept(line: Line | None) -> str:
    """Why the pod is not Ready, or will not stay."""
    is_leaving = line is not None and Pod.parse(line.object).deletion_timestamp
    return "being deleted" if is_leaving else pod(line)


def deployment(line: Line | None) -> str:
    """Why the newest generation of the Deployment is not rolled out and available."""
    if line is None:
        return "no such deployment"
    spec, status, meta = line.object["spec"], line.object.get("status", {}), line.object["metadata"]
    want = spec.get("replicas", 1)
    counts = {key: status.get(f"{key}Replicas", 0) for key in ("updated", "available")}
    is_current = status.get("observedGeneration", 0) >= meta.get("generation", 0)
    if is_current and all(n == want for n in counts.values()) and status.get("replicas", 0) == want:
        return ""
    conditions = [Condition.parse(c) for c in status.get("conditions") or []]
    return f"{counts['available']} of {want} available, {describe(conditions, 'Available')}"


def ready_pods(line: Line | None, wanted: int) -> str:
    """Why less than `wanted` pods of a StatefulSet, DaemonSet or Job are Ready."""
    if line is None:
        return "no such object"
    status = line.object.get("status", {})
    found = max(int(status.get(key) or 0) for key in ("readyReplicas", "numberReady", "ready"))
    return "" if found >= wanted else f"{found} of {wanted} Ready"
