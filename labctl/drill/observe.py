"""Watches of the cluster, written into the history as they arrive."""

from __future__ import annotations

from dataclasses import asdict

from labctl.drill.history import History
from labctl.drill.lab import Cluster, Stoppable
from labctl.kube.watch import Gap, WatchEvent

KINDS = ("nodes", "pods", "endpointslices", "events", "leases")


class Watches:
    """Records every change of nodes, pods, endpoint slices, events and node leases, and every gap."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._running: list[Stoppable] = []

    def start(self, history: History) -> None:
        """Begin; returns when each watch has its first list."""

        def on_event(event: WatchEvent) -> None:
            history.record("watch", at=event.received, what=event.kind, change=event.type, object=asdict(event.object))

        def on_gap(gap: Gap) -> None:
            start, end = history.since_start(gap.start), history.since_start(gap.end)
            history.record("gap", what=gap.kind, start=start, end=end, reason=gap.reason)

        for kind in KINDS:
            self._running.append(self._cluster.watch(kind, on_event, on_gap))

    def stop(self) -> None:
        """End all watches."""
        while self._running:
            self._running.pop().stop()
