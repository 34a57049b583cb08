"""The drill's own pods: the documents of hello-world, moved into the drill's namespace. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from labctl.drill.lab import Document
from labctl.drill.model import NAMESPACE

OWNED = {"app.kubernetes.io/managed-by": "labctl"}


def first(documents: Sequence[Document], kind: str) -> Document:
    """The first document of `kind`."""
    return next(document for document in documents if document["kind"] == kind)


def shared(documents: Sequence[Document]) -> list[Document]:
    """The namespace, and in it everything of `documents` that is no bare Pod."""
    space: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": OWNED}}
    return [space, *(_moved(document) for document in documents if document["kind"] != "Pod")]


def bare_pod(documents: Sequence[Document], node: str) -> Document:
    """The bare Pod, bound to `node`."""
    pod = _moved(first(documents, "Pod"))
    pod["spec"]["nodeName"] = node
    return pod


def _moved(document: Document) -> dict[str, Any]:
    """`document` in the drill's namespace, with a node port of the API server's choice."""
    moved: dict[str, Any] = copy.deepcopy(dict(document))
    moved["metadata"]["namespace"] = NAMESPACE
    moved["metadata"].setdefault("labels", {}).update(OWNED)
    for port in moved.get("spec", {}).get("ports", []) if document["kind"] == "Service" else []:
        port.pop("nodePort", None)
    return moved
