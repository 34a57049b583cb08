"""What a drill needs of the world, as small protocols: a cluster, a power switch, a clock, observers.

The CLI wires `labctl.kube` and a provider in; tests wire fakes in and let the clock jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from labctl.drill.history import History
from labctl.drill.model import Host, Plan
from labctl.drill.settings import RunOn
from labctl.kube.objects import Node, Pod
from labctl.kube.watch import Gap, WatchEvent
from labctl.providers.base import CanPowerOff, Machine

Document = Mapping[str, Any]


class Observer(Protocol):
    """Something that writes what it sees into the history, from `start` to `stop`. It never judges."""

    def start(self, history: History) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, promptly. Idempotent."""


class Stoppable(Protocol):
    """A running watch."""

    def stop(self) -> None:
        """End it."""


class Cluster(Protocol):
    """The part of `labctl.kube.Kube` that drills use; described there."""

    def server_version(self) -> str: ...  # noqa: D102
    def nodes(self) -> list[Node]: ...  # noqa: D102
    def pods(self, namespace: str = "", label: str = "") -> list[Pod]: ...  # noqa: D102
    def get(  # noqa: D102
        self, api_version: str, kind: str, name: str, namespace: str = ""
    ) -> dict[str, Any] | None: ...
    def free_cpu(self, node: str) -> int: ...  # noqa: D102
    def node_configz(self, node: str) -> dict[str, Any]: ...  # noqa: D102
    def apply(self, documents: Sequence[Document]) -> list[str]: ...  # noqa: D102
    def create(self, document: Document) -> None: ...  # noqa: D102
    def patch(self, document: Document, change: Document) -> None: ...  # noqa: D102
    def evict(self, namespace: str, name: str) -> bool: ...  # noqa: D102
    def wait_ready(self, kind: str, namespace: str, name: str, wanted: int, timeout_s: float) -> None: ...  # noqa: D102
    def delete(self, documents: Sequence[Document]) -> None: ...  # noqa: D102
    def delete_namespace(self, name: str, timeout_s: float) -> None: ...  # noqa: D102
    def wait_deployment(self, namespace: str, name: str, timeout_s: float) -> None: ...  # noqa: D102
    def wait_pod_ready(self, namespace: str, name: str, timeout_s: float) -> None: ...  # noqa: D102
    def wait_pod_gone(self, namespace: str, name: str, timeout_s: float) -> None: ...  # noqa: D102
    def watch(  # noqa: D102
        self, kind: str, on_event: Callable[[WatchEvent], None], on_gap: Callable[[Gap], None]
    ) -> Stoppable: ...


class Power(CanPowerOff, Protocol):
    """A provider that holds the power switch of the lab's machines."""

    def machines(self) -> list[Machine]:
        """The lab's machines in any state, control planes first."""


class Clock(Protocol):
    """One monotonic clock."""

    def now(self) -> float:
        """Seconds."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""


class SystemClock:
    """time.monotonic."""

    now = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


@dataclass(frozen=True)
class DrillLab:
    """A lab as drills see it."""

    name: str
    cluster: Cluster
    power: Power
    run_on: RunOn
    journal: Path
    hello: tuple[Document, ...]
    """the documents of helloworld-pod.yml and hello-deployment.yml as `labctl up` applies them"""
    observers: Callable[[Plan], list[Observer]]
    """probes and beacons of a plan, such as `labctl.drill.probe.observers`"""
    verify: Callable[[], list[str]]
    """a sentence for each check of the quick set that fails"""
    surroundings: Callable[[str], Mapping[str, str]]
    """what faults may want to know of a machine's surroundings: addresses of the others, networks"""
    machine_names: tuple[str, ...]
    """the machines that the lab shall have; one that the provider does not list is gone"""
    host: Callable[[], Host] = Host
    """the machine that the lab is on, and the versions there; the nodes are asked for theirs"""
    patience: float = 1.0
    """how many times as long as usual may be waited: more than once for slow machines"""
    clock: Clock = field(default_factory=SystemClock)
