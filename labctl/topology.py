"""Which machines a lab has, and their addresses: a pure function of the configuration and the machines' network."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Literal

from labctl.config import LabConfig
from labctl.config_machine import MachineSettings
from labctl.config_networks import NODE_PREFIXES, Address, Network

Role = Literal["control-plane", "worker"]

INOTIFY_INSTANCES: dict[Role, int] = {"control-plane": 40, "worker": 25}
"""What systemd, containerd, the kubelet and pods take of fs.inotify.max_user_instances (measured, rounded up)."""
_FIRST_CONTROL_PLANE = 10
_FIRST_WORKER = 20
_LABS6 = IPv6Network("fd6c:6162::/32")
"""Unique local addresses (RFC 4193): fd, and "lab" in ASCII."""


@dataclass(frozen=True)
class Planned:
    """A machine as it shall be; its name is also the Kubernetes node's name."""

    name: str
    role: Role
    address: Address
    pod_subnet: Network
    settings: MachineSettings = field(default_factory=MachineSettings)
    second_address: IPv6Address | None = None
    """with two families of addresses; `address` is of the preferred one"""
    second_pod_subnet: IPv6Network | None = None


def network6(network: IPv4Network) -> IPv6Network:
    """The IPv6 network of machines on `network`: a /64 of its own for each, so that it is as free as that one.

    >>> network6(IPv4Network("10.203.7.0/24"))
    IPv6Network('fd6c:6162:acb:700::/64')
    """
    return IPv6Network((int(_LABS6.network_address) | int(network.network_address) << 64, 64))


def plan(config: LabConfig, network: IPv4Network) -> list[Planned]:
    """The lab's machines, control planes first. Adding workers changes nothing of the others."""
    numbered: list[tuple[str, Role, int]] = [
        (f"{config.name}-cp-{number}", "control-plane", _FIRST_CONTROL_PLANE + number - 1)
        for number in range(1, config.control_planes + 1)
    ] + [
        (f"{config.name}-worker-{number}", "worker", _FIRST_WORKER + number - 1)
        for number in range(1, config.workers + 1)
    ]
    four = [network.network_address + number for _, _, number in numbered]
    six = [network6(network).network_address + number for _, _, number in numbered]
    pods = list(islice(config.networks.pods.subnets(new_prefix=NODE_PREFIXES[4]), len(numbered)))
    pods6 = list(islice(config.networks.pods6.subnets(new_prefix=NODE_PREFIXES[6]), len(numbered)))
    machines = []
    for at, ((name, role, _), short) in enumerate(zip(numbered, config.machine_names, strict=True)):
        settings = config.machine(short)
        if config.networks.family == "ipv4":
            machines.append(Planned(name, role, four[at], pods[at], settings))
        elif config.networks.family == "dual":
            machines.append(Planned(name, role, four[at], pods[at], settings, six[at], pods6[at]))
        else:
            machines.append(Planned(name, role, six[at], pods6[at], settings))
    return machines
