"""Stops a lab's machines in order, and starts them again until Kubernetes is back. Disks and addresses stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

from labctl import paths, state
from labctl.config import LabConfig
from labctl.errors import StateError, UsageError, command_for
from labctl.events import Emit, Progress
from labctl.kube import Kube
from labctl.providers.base import CanStop, Machine, Provider
from labctl.providers.choose import provider_of

_BACK_WITHIN_S = 180


class _Switched(Provider, CanStop, Protocol):
    """What stop and start need of a provider."""


def _switched(lab: str) -> _Switched:
    """The provider of `lab`. Raises `UsageError` if it cannot switch machines."""
    provider = provider_of(lab)
    if not isinstance(provider, CanStop):
        raise UsageError(
            f"the machines of the lab {lab} are not labctl's to switch: it has no power commands for them",
            f"power: in labctl.yml and {command_for(lab, 'up')} give it some; or shut the machines down yourself",
        )
    return cast("_Switched", provider)


def stop(lab: str, emit: Emit) -> list[str]:
    """Shut all machines down, control planes last. Returns which were on."""
    provider = _switched(lab)
    on = [machine for machine in provider.machines() if machine.power in ("on", "paused")]
    for role in ("worker", "control-plane"):
        _all(provider.stop, [machine for machine in on if machine.role == role], "shutting down", emit)
    return [machine.name for machine in on]


def start(lab: str, emit: Emit) -> list[str]:
    """Switch all machines on and wait until their nodes are Ready. Returns which were off.

    Raises `UsageError` if there is no lab, `StateError` if it has no cluster yet.
    """
    record = state.get(lab)
    files = paths.LabPaths(lab)
    provider = _switched(lab)
    machines = provider.machines()
    if not files.kubeconfig.exists() or len(machines) < record.config.control_planes + record.config.workers:
        raise StateError(f"the lab {lab} is not whole: there is something to make", command_for(lab, "up"))
    off = [machine for machine in machines if machine.power != "on"]
    _all(provider.power_on, off, "switching on", emit)
    _wait_until_back(Kube(files, record.config.patience), [machine.name for machine in machines], record.config)
    return [machine.name for machine in off]


def _wait_until_back(kube: Kube, names: list[str], config: LabConfig) -> None:
    kube.wait_kubelets(names, _BACK_WITHIN_S)
    if config.has_network:
        kube.wait_nodes_ready(names, _BACK_WITHIN_S)
        kube.wait_deployment("kube-system", "coredns", _BACK_WITHIN_S)


def _all(action: Callable[[str], None], machines: Iterable[Machine], doing: str, emit: Emit) -> None:
    """Do `action` to all of `machines` at once."""
    names = [machine.name for machine in machines]
    if names:
        emit(Progress(f"{doing}: {', '.join(names)}"))
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(action, names))
