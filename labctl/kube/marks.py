"""Labels and taints that labctl keeps on a node.

What was set last is written into an annotation beside it, in the same request: so what is no longer wanted can be taken
away, and labels and taints of others stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labctl.errors import LabError, command_for
from labctl.kube.client import ApiError, Client

ANNOTATION = "labctl/marks"
_CONFLICT = 409
_CONFLICTS = 20


@dataclass(frozen=True)
class Marks:
    """Labels, and taints as the API has them, that one node shall carry."""

    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]]


def settle(client: Client, node: str, wanted: Marks) -> bool:
    """Make the node's labels and taints as `wanted`; says whether anything changed."""
    path = f"/api/v1/nodes/{node}"
    for _ in range(_CONFLICTS):
        change = patch(client.get(path), wanted)
        if change is None:
            return False
        try:
            client.request("PATCH", path, body=change, content_type="application/merge-patch+json")
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
        else:
            return True
    text = f"the node {node} changed {_CONFLICTS} times while it was being labelled"
    raise LabError(text, command_for(client.lab, "up"))


def patch(node: Mapping[str, Any], wanted: Marks) -> dict[str, Any] | None:
    """Pure: the merge patch that makes the marks of `node` (the API's JSON) as `wanted`, or None if they are.

    It names the version that it is made for: the API refuses it (409) if the node changed meanwhile.
    """
    meta, present = node["metadata"], list(node.get("spec", {}).get("taints") or [])
    noted = (meta.get("annotations") or {}).get(ANNOTATION)
    before = json.loads(noted) if noted else {"labels": [], "taints": []}
    labels = {key: value for key, value in wanted.labels.items() if (meta.get("labels") or {}).get(key) != value}
    gone = dict.fromkeys((key for key in before["labels"] if key not in wanted.labels), None)
    ours = {_identity(taint) for taint in wanted.taints}
    stale = {tuple(pair) for pair in before["taints"]} | ours
    taints = [taint for taint in present if _identity(taint) not in stale] + [dict(taint) for taint in wanted.taints]
    now = json.dumps({"labels": sorted(wanted.labels), "taints": sorted(ours)})
    is_noted = now == noted or not (noted or wanted.labels or wanted.taints)
    if not labels and not gone and is_noted and _same(taints, present):
        return None
    return {
        "metadata": {
            "resourceVersion": meta["resourceVersion"],
            "labels": {**labels, **gone},
            "annotations": {ANNOTATION: now if wanted.labels or wanted.taints else None},
        },
        "spec": {"taints": taints},
    }


def _identity(taint: Mapping[str, str]) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _same(one: Sequence[Mapping[str, str]], other: Sequence[Mapping[str, str]]) -> bool:
    def comparable(taints: Sequence[Mapping[str, str]]) -> list[tuple[str, str, str]]:
        return sorted((*_identity(taint), taint.get("value", "")) for taint in taints)

    return comparable(one) == comparable(other)
