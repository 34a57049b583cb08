"""Which provider a lab's machines are of. Nobody else need know which there are."""

from __future__ import annotations

from labctl import paths, state
from labctl.config import LabConfig
from labctl.providers import container, engines, hosts
from labctl.providers.base import Machine, Provider, Way
from labctl.providers.container import ContainerProvider
from labctl.providers.vagrant import VagrantProvider


def provider_of(lab: str) -> Provider:
    """Of the lab `lab`, by its record; without one, whatever works here."""
    record = state.find(lab)
    return (record and _reached_by_ssh(record.config)) or ContainerProvider(lab)


def provider_for(config: LabConfig) -> Provider:
    """Of the lab that `config` asks for, whether or not there is one yet."""
    other = _reached_by_ssh(config)
    return other or ContainerProvider(config.name, engines.choose(config.name, config.provider))


def way_to(lab: str, machine: Machine) -> Way:
    """How SSH reaches a machine of `lab`; without asking an engine."""
    record = state.find(lab)
    other = _reached_by_ssh(record.config) if record else None
    return other.way(machine) if other else container.way(paths.LabPaths(lab), machine)


def _reached_by_ssh(config: LabConfig) -> hosts.HostsProvider | None:
    """The provider of machines that are no containers."""
    if config.provider == "vagrant":
        return VagrantProvider(config)
    return hosts.of(config) if config.provider == "hosts" else None
