"""A watch in a thread. Every event is stamped on receipt; whatever was or may have been missed is a gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labctl.errors import LabError
from labctl.kube.client import ApiError, Client, Stream
from labctl.kube.objects import EndpointSlice, KubeEvent, Lease, Node, Pod

Object = Node | Pod | EndpointSlice | KubeEvent | Lease

_KINDS: dict[str, tuple[str, Callable[[dict[str, Any]], Object]]] = {
    "nodes": ("/api/v1/nodes", Node.parse),
    "pods": ("/api/v1/pods", Pod.parse),
    "endpointslices": ("/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice.parse),
    "events": ("/api/v1/events", KubeEvent.parse),
    "leases": ("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", Lease.parse),
}
_GONE = 410
_RETRY_S = 0.2


@dataclass(frozen=True)
class WatchEvent:
    """`type` is LISTED (present when the watch began, or after a relist), ADDED, MODIFIED or DELETED."""

    kind: str
    type: str
    object: Object
    received: float
    """time.monotonic() when the line arrived"""


@dataclass(frozen=True)
class Gap:
    """Between two instants of time.monotonic() events of `kind` may have been missed or are stamped late."""

    kind: str
    start: float
    end: float
    reason: str


@dataclass
class Watch:
    """Watches one kind in all namespaces until `stop`. `begin` returns when the first list has been delivered."""

    client: Client
    kind: str
    on_event: Callable[[WatchEvent], None]
    on_gap: Callable[[Gap], None]
    clock: Callable[[], float] = time.monotonic
    _stopped: threading.Event = field(default_factory=threading.Event)
    _listed: threading.Event = field(default_factory=threading.Event)
    _stream: Stream | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def begin(self, timeout_s: float = 10.0) -> Watch:
        """Start the thread; raises LabError if the API gives no first list in time."""
        self._thread = threading.Thread(target=self._run, name=f"watch-{self.kind}", daemon=True)
        self._thread.start()
        if not self._listed.wait(timeout_s):
            self.stop()
            raise LabError(f"could not begin to watch {self.kind}: no answer from {self.client.server}")
        return self

    def stop(self) -> None:
        """End the watch and wait for its thread. Idempotent."""
        with self._lock:
            self._stopped.set()
            if self._stream:
                self._stream.close()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        version = ""
        lost: float | None = None
        reason = ""
        while not self._stopped.is_set():
            try:
                if not version:
                    version = self._list()
                stream = self._open(version)
                if lost is not None:
                    self.on_gap(Gap(self.kind, lost, self.clock(), reason))
                    lost = None
                for line in stream.lines():
                    version = line.object["metadata"]["resourceVersion"]
                    if line.type != "BOOKMARK":
                        self._deliver(line.type, line.object)
                reason = "the API server ended the watch"
            except Exception as error:  # noqa: BLE001 - whatever it was, this watch is not whole: a gap
                reason = str(error) or repr(error)
                if isinstance(error, ApiError) and error.status == _GONE:
                    version = ""
            lost = self.clock() if lost is None else lost
            self._stopped.wait(_RETRY_S)

    def _list(self) -> str:
        path, _ = _KINDS[self.kind]
        answer = self.client.get(path)
        for raw in answer.get("items") or []:
            self._deliver("LISTED", raw)
        self._listed.set()
        return str(answer["metadata"]["resourceVersion"])

    def _open(self, version: str) -> Stream:
        path, _ = _KINDS[self.kind]
        stream = self.client.watch(path, {"resourceVersion": version, "timeoutSeconds": 3600})
        with self._lock:
            self._stream = stream
            if self._stopped.is_set():
                stream.close()
        return stream

    def _deliver(self, change: str, raw: dict[str, Any]) -> None:
        received = self.clock()
        _, parse = _KINDS[self.kind]
        self.on_event(WatchEvent(self.kind, change, parse(raw), received))
