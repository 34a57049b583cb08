"""CPU that the scheduler still has to give away on a node. Pure.

A pod counts with what it requests, as the scheduler counts
(https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers): all
containers and sidecars together, or an init container with the sidecars before it, whichever is more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Json = Mapping[str, Any]

_SUFFIXES = {"n": Decimal("1e-6"), "u": Decimal("1e-3"), "m": Decimal(1), "k": Decimal("1e6")}


def millicores(quantity: str) -> int:
    """``250m``, ``0.5`` or ``2`` in thousandths of a core, rounded up."""
    factor = _SUFFIXES.get(quantity[-1:])
    number = Decimal(quantity[:-1]) * factor if factor else Decimal(quantity) * 1000
    return math.ceil(number)


def free(node: Json, pods: Iterable[Json]) -> int:
    """Millicores of `node` that none of `pods`, all of which are bound to it, requests."""
    running = [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]
    return millicores(node["status"]["allocatable"]["cpu"]) - sum(map(requested, running))


def requested(pod: Json) -> int:
    """Millicores that `pod` requests."""
    spec = pod["spec"]
    overhead = millicores((spec.get("overhead") or {}).get("cpu", "0"))
    return overhead + (_request(spec) or _of_containers(spec))  # the pod's own request stands for its containers'


def _of_containers(spec: Json) -> int:
    sidecars = peak = 0
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars += _request(container)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + _request(container))
    return max(peak, sidecars + sum(map(_request, spec["containers"])))


def _request(thing: Json) -> int:
    return millicores(((thing.get("resources") or {}).get("requests") or {}).get("cpu", "0"))
