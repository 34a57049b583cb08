"""`Kube`: what labctl asks of a cluster. Waits are watches, and a wait that ends in vain says what it saw last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from urllib3.exceptions import HTTPError

from labctl.errors import LabError, TimedOutError, command_for
from labctl.kube import cpu, marks, unfit
from labctl.kube.client import ApiError, ApiUnavailableError, Client, Line
from labctl.kube.marks import Marks
from labctl.kube.objects import Node, Pod
from labctl.kube.watch import Gap, Watch, WatchEvent
from labctl.paths import LabPaths

Document = Mapping[str, Any]

FIELD_MANAGER = "labctl"
_NOT_FOUND = 404
_CONFLICT = 409
_TOO_MANY = 429
_RETRY_S = 0.3
_WORTH_ANOTHER_TRY = {403, 410, 429, 500, 502, 503, 504}
"""403: an API server that has just started does not know its roles yet. 410: the watch was too old."""


class Kube:
    """The cluster of `lab`, by its kubeconfig. Nothing is asked before the first call.

    Where the machines are slow, `patience` says how many times as long as asked for everything may take.
    """

    def __init__(self, lab: LabPaths, patience: float = 1.0) -> None:
        self._client = Client(lab, patience)
        self._patience = patience
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._client.server

    def server_version(self) -> str:
        """The API server's version, such as ``v1.37.2``."""
        return str(self._client.get("/version", timeout_s=5)["gitVersion"])

    def nodes(self, *, timeout_s: float = 5.0) -> list[Node]:
        """All nodes, by name."""
        answer = self._client.get("/api/v1/nodes", timeout_s=timeout_s)
        return sorted(map(Node.parse, answer["items"]), key=lambda node: node.name)

    def pods(self, namespace: str = "", label: str = "") -> list[Pod]:
        """Pods of `namespace` (default: of all) with the label selector `label`."""
        path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        answer = self._client.get(path, {"labelSelector": label} if label else None)
        return [Pod.parse(raw) for raw in answer["items"]]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Any object as JSON, or None."""
        document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        return self._get(self._path(document))

    def free_cpu(self, node: str) -> int:
        """Millicores that the scheduler still has to give away on the node."""
        pods = self._client.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"})
        return cpu.free(self._client.get(f"/api/v1/nodes/{node}"), pods["items"])

    def node_configz(self, node: str) -> dict[str, Any]:
        """The kubelet's configuration as it runs now."""
        answer = self._client.get(f"/api/v1/nodes/{node}/proxy/configz")
        return dict(answer["kubeletconfig"])

    # -- change

    def apply(self, documents: Iterable[Document]) -> list[str]:
        """Server-side apply as field manager labctl. Returns what really changed, as ``Deployment default/hello``."""
        changed = []
        for document in documents:
            path = self._path(document)
            before = self._get(path)
            after = self._client.request(
                "PATCH",
                path,
                {"fieldManager": FIELD_MANAGER, "force": True},
                body=document,
                content_type="application/apply-patch+yaml",
            )
            if before is None or before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]:
                changed.append(_label(document))
        return changed

    def create(self, document: Document) -> None:
        """Make an object that is not there. Raises `ApiError` (409) if it is."""
        self._client.request("POST", self._path(document).rpartition("/")[0], body=document)

    def patch(self, document: Document, change: Document) -> None:
        """Merge `change` into the object that `document` names (RFC 7386)."""
        self._client.request("PATCH", self._path(document), body=change, content_type="application/merge-patch+json")

    def evict(self, namespace: str, name: str) -> bool:
        """Ask the pod to leave, as a drain does; False if its PodDisruptionBudget does not allow it now.

        https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
        """
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        try:
            with _not_found_is_fine():
                self._client.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body=body)
        except ApiError as error:
            if error.status != _TOO_MANY:
                raise
            return False
        return True

    def mark(self, node: str, wanted: Marks) -> bool:
        """Make the node's labels and taints as `wanted`; says whether anything changed."""
        return marks.settle(self._client, node, wanted)

    def delete(self, documents: Iterable[Document]) -> None:
        """Ask for the deletion of what is there; does not wait."""
        for document in documents:
            with _not_found_is_fine():
                self._client.request("DELETE", self._path(document))

    def delete_namespace(self, name: str, timeout_s: float) -> None:
        """Delete the namespace `name` with all in it, and wait until it is gone."""
        path = f"/api/v1/namespaces/{name}"
        try:
            self._client.request("DELETE", path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return
            if error.status != _CONFLICT:  # being deleted already
                raise
        self._wait("/api/v1/namespaces", name, unfit.is_gone, f"namespace {name} to be gone", timeout_s)

    # -- wait, by watch

    def wait_nodes_ready(self, names: Sequence[str], timeout_s: float) -> None:
        """Until every node of `names` is Ready."""
        seen: dict[str, str] = dict.fromkeys(names, "not registered")

        def is_done(line: Line) -> bool:
            node = Node.parse(line.object)
            if node.name in seen:
                gone = line.type == "DELETED"
                seen[node.name] = "deleted" if gone else "" if node.ready else node.why_not_ready()
            return not any(seen.values())

        def last() -> str:
            return "; ".join(f"{name} {state}" for name, state in seen.items() if state)

        if names:
            self._follow("/api/v1/nodes", {}, is_done, f"nodes {', '.join(names)} to be Ready", timeout_s, last)

    def wait_api(self, timeout_s: float) -> None:
        """Until the API server answers and knows its roles."""
        self._until(self.nodes, "the API server to answer", timeout_s)

    def wait_kubelets(self, names: Sequence[str], timeout_s: float) -> None:
        """Until the kubelet of each of `names` answers itself: what the API says of a node may be from before."""
        end = time.monotonic() + timeout_s
        for name in names:
            left = end - time.monotonic()
            self._until(partial(self.node_configz, name), f"the kubelet of {name} to answer", left)

    def wait_deployment(self, namespace: str, name: str, timeout_s: float) -> None:
        """Until the Deployment's newest generation is rolled out and available."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._wait(path, name, unfit.deployment, f"deployment {namespace}/{name} to be available", timeout_s)

    def wait_ready(self, kind: str, namespace: str, name: str, wanted: int, timeout_s: float) -> None:
        """Until `wanted` pods of the StatefulSet, DaemonSet or Job `name` are Ready."""
        group = "batch" if kind == "Job" else "apps"
        path = f"/apis/{group}/v1/namespaces/{namespace}/{kind.lower()}s"
        judge = partial(unfit.ready_pods, wanted=wanted)
        self._wait(path, name, judge, f"{wanted} pods of {kind} {namespace}/{name} to be Ready", timeout_s)

    def wait_pod_ready(self, namespace: str, name: str, timeout_s: float) -> None:
        """Until the pod `name` is Ready."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._wait(path, name, unfit.pod, f"pod {namespace}/{name} to be Ready", timeout_s)

    def keep_pod(self, document: Document, timeout_s: float) -> bool:
        """Until the bare pod of `document` is Ready; made again whenever it is gone. Says whether it had to be made.

        Kubernetes evicts the pods of a machine that was away, even a while after its return, a kubelet ends them when
        its machine shuts down, and no controller makes a bare one again.
        """
        meta, made = document["metadata"], False

        def judge(line: Line | None) -> str:
            nonlocal made
            made |= line is None and bool(self.apply([document]))
            if line is not None and Pod.parse(line.object).has_ended:
                self.delete([document])
            return unfit.kept(line)

        namespace, name = meta.get("namespace") or "default", meta["name"]
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._wait(path, name, judge, f"pod {namespace}/{name} to be Ready", timeout_s)
        return made

    def wait_pod_gone(self, namespace: str, name: str, timeout_s: float) -> None:
        """Until there is no pod `name`."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._wait(path, name, unfit.is_gone, f"pod {namespace}/{name} to be gone", timeout_s)

    # -- observe

    def watch(
        self,
        kind: str,
        on_event: Callable[[WatchEvent], None],
        on_gap: Callable[[Gap], None],
        *,
        begin_s: float = 10.0,
    ) -> Watch:
        """Watch nodes, pods, endpointslices or events in a thread, from now until `Watch.stop`."""
        return Watch(self._client, kind, on_event, on_gap).begin(begin_s * self._patience)

    # -- inside

    def _until(self, ask: Callable[[], object], what: str, timeout_s: float) -> None:
        """Ask until an answer comes: what is not there yet cannot be watched."""
        timeout_s *= self._patience
        end = time.monotonic() + timeout_s
        while True:
            try:
                ask()
            except LabError as error:
                if time.monotonic() >= end:
                    raise TimedOutError(
                        f"waited {timeout_s:.0f} s for {what}; last: {error.message}",
                        f"{command_for(self._client.lab, 'logs')} collects what the machines say",
                    ) from error
                time.sleep(_RETRY_S)
            else:
                return

    def _get(self, path: str) -> dict[str, Any] | None:
        with _not_found_is_fine():
            return self._client.get(path)
        return None

    def _path(self, document: Document) -> str:
        """Where the API serves `document`; plural and scope are looked up once a kind."""
        version, kind, meta = document["apiVersion"], document["kind"], document["metadata"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for resource in self._client.get(base)["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        if (version, kind) not in self._plurals:
            raise LabError(f"the cluster does not know the kind {kind} of {version}")
        plural, is_namespaced = self._plurals[version, kind]
        inside = f"/namespaces/{meta.get('namespace') or 'default'}" if is_namespaced else ""
        return f"{base}{inside}/{plural}/{meta['name']}"

    def _wait(self, path: str, name: str, judge: Callable[[Line | None], str], what: str, timeout_s: float) -> None:
        """Watch one object until `judge` has nothing left to say of it."""
        state = ""

        def is_done(line: Line) -> bool:
            nonlocal state
            state = judge(None if line.type in {"DELETED", "ABSENT"} else line)
            return not state

        self._follow(path, {"fieldSelector": f"metadata.name={name}"}, is_done, what, timeout_s, lambda: state)

    def _follow(
        self,
        path: str,
        query: Mapping[str, str],
        is_done: Callable[[Line], bool],
        what: str,
        timeout_s: float,
        last: Callable[[], str],
    ) -> None:
        """List and watch until `is_done`; a lost connection is taken up again until the time is over."""
        timeout_s *= self._patience
        end = time.monotonic() + timeout_s
        trouble = ""
        while time.monotonic() < end:
            try:
                if any(is_done(line) for line in self._lines(path, query, end)):
                    return
            except (ApiError, ApiUnavailableError, HTTPError, OSError) as error:
                if isinstance(error, ApiError) and error.status not in _WORTH_ANOTHER_TRY:
                    raise
                trouble = f" (the API: {error})"
                time.sleep(min(_RETRY_S, max(0.0, end - time.monotonic())))
        raise TimedOutError(
            f"waited {timeout_s:.0f} s for {what}; last seen: {last() or 'nothing'}{trouble}",
            f"{command_for(self._client.lab, 'logs')} collects what the machines say;"
            f" {command_for(self._client.lab, 'kubectl', '-- describe')} shows the object",
        )

    def _lines(self, path: str, query: Mapping[str, str], end: float) -> Iterator[Line]:
        """What is there now, then what changes, until `end`."""
        left = max(1.0, end - time.monotonic())
        answer = self._client.get(path, query, timeout_s=min(10.0, left))
        if not answer["items"]:
            yield Line("ABSENT", {"metadata": {"name": ""}})
        for raw in answer["items"]:
            yield Line("LISTED", raw)
        left = max(1.0, end - time.monotonic())
        full = {**query, "resourceVersion": answer["metadata"]["resourceVersion"], "timeoutSeconds": int(left)}
        stream = self._client.watch(path, full, silence_s=left + 5)
        try:
            yield from (line for line in stream.lines() if line.type != "BOOKMARK")
        finally:
            stream.close()


@contextmanager
def _not_found_is_fine() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise


def _label(document: Document) -> str:
    meta = document["metadata"]
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{document['kind']} {place}{meta['name']}"
