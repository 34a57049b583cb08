"""Which provider a lab's machines are of. Nobody else need know which there are."""

from __future__ import annotations

from labctl import paths, state
from labctl.config import LabConfig
from labctl.providers import container, engines, hosts
from labctl.providers.base import Machine, Provider, Way
from labctl.providers.container import ContainerProvider


def provider_of(lab: str) -> Provider:
    """Of the lab `lab`, by its record; without one, whatever works here."""
    record = state.find(lab)
    if record and record.config.provider == "hosts":
        return hosts.of(record.config)
    return ContainerProvider(lab)


def provider_for(config: LabConfig) -> Provider:
    """Of the lab that `config` asks for, whether or not there is one yet."""
    if config.provider == "hosts":
        return hosts.of(config)
    return ContainerProvider(config.name, engines.choose(config.name, config.provider))


def way_to(lab: str, machine: Machine) -> Way:
    """How SSH reaches a machine of `lab`; without asking an engine."""
    record = state.find(lab)
    if record and record.config.provider == "hosts":
        return hosts.of(record.config).way(machine)
    return container.way(paths.LabPaths(lab), machine)
