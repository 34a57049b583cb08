"""What a lab looks like now: power from the provider, readiness from Kubernetes, open faults from the journal."""

from __future__ import annotations

from dataclasses import dataclass

from labctl import drill, paths, state
from labctl.config import LabConfig
from labctl.errors import LabError, command_for
from labctl.providers.base import Power, Provider
from labctl.providers.choose import provider_of
from labctl.topology import Role


@dataclass(frozen=True)
class NodeStatus:
    """One machine; `ready` is None where Kubernetes could not be asked or does not know."""

    name: str
    role: Role
    address: str
    power: Power
    ready: bool | None


@dataclass(frozen=True)
class LabStatus:
    """`broken` holds a sentence for each thing that is not as it should be.

    While a drill runs, `drill` says which: then what it broke is not broken, for it undoes that itself.
    """

    lab: str
    provider: str
    kubernetes: str
    timing: str
    nodes: list[NodeStatus]
    broken: list[str]
    drill: str = ""


def look(lab: str) -> LabStatus:
    """Look at the lab `lab`. Raises `UsageError` if there is none."""
    record = state.get(lab)
    files = paths.LabPaths(lab)
    running = drill.running(lab, files.journal) if state.is_locked(lab) else ""
    provider = provider_of(lab)
    seen = {machine.name: machine for machine in provider.machines()}
    planned = provider.plan(record.config)
    is_stopped = bool(seen) and all(machine.power == "off" for machine in seen.values())
    ready, broken = (
        ({}, [f"the lab is stopped: {command_for(lab, 'start')}"]) if is_stopped else _readiness(record.config)
    )
    odd = _changed_behind_our_back(record.config, provider)
    nodes = []
    for machine in planned:
        power: Power = seen[machine.name].power if machine.name in seen else "gone"
        is_ready = ready.get(machine.name)
        nodes.append(NodeStatus(machine.name, machine.role, str(machine.address), power, is_ready))
        if power == "gone" and not any(machine.name in sentence for sentence in odd):
            broken.append(f"{machine.name} is gone: {command_for(lab, 'up')} makes it again")
        elif power == "on" and is_ready is False:
            broken.append(f"{machine.name} is on, but NotReady: {command_for(lab, 'logs')} collects the reason")
        elif power == "unreachable":
            broken.append(f"{machine.name} does not answer SSH: {machine.address}")
    broken += odd
    broken += drill.broken(lab, files.journal, [] if is_stopped else seen.values())
    if not planned:
        broken.append(f"the lab has no machines: {command_for(lab, 'up')} makes them")
    config = record.config
    broken = [] if running else broken
    return LabStatus(lab, config.provider, config.kubernetes, config.timing, nodes, broken, running)


def _changed_behind_our_back(config: LabConfig, provider: Provider) -> list[str]:
    try:
        found = provider.changes(config)
    except LabError as error:
        return [error.message]
    return [f"{problem.text}: {problem.hint}" for problem in found]


def _readiness(config: LabConfig) -> tuple[dict[str, bool | None], list[str]]:
    files = paths.LabPaths(config.name)
    if not files.kubeconfig.exists():
        return {}, [f"the cluster was not finished: {command_for(config.name, 'up')} takes it up again"]
    from labctl.kube import Kube  # noqa: PLC0415 (slow to import, and not needed without a cluster)

    try:
        return {node.name: node.ready for node in Kube(files, config.patience).nodes()}, []
    except LabError as error:
        return {}, [error.message]
