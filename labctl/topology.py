"""Which machines a lab has, and their addresses: a pure function of the configuration and the machines' network."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import Literal

from labctl.config import LabConfig
from labctl.config_machine import MachineSettings

Role = Literal["control-plane", "worker"]

INOTIFY_INSTANCES: dict[Role, int] = {"control-plane": 40, "worker": 25}
"""What systemd, containerd, the kubelet and pods take of fs.inotify.max_user_instances (measured, rounded up)."""
_FIRST_CONTROL_PLANE = 10
_FIRST_WORKER = 20
_POD_PREFIX = 24


@dataclass(frozen=True)
class Planned:
    """A machine as it shall be; its name is also the Kubernetes node's name."""

    name: str
    role: Role
    address: IPv4Address
    pod_subnet: IPv4Network
    settings: MachineSettings = field(default_factory=MachineSettings)


def plan(config: LabConfig, network: IPv4Network) -> list[Planned]:
    """The lab's machines, control planes first. Adding workers changes nothing of the others."""
    first = network.network_address
    subnets = islice(config.networks.pods.subnets(new_prefix=_POD_PREFIX), config.control_planes + config.workers)
    numbered: list[tuple[str, Role, IPv4Address]] = [
        (f"{config.name}-cp-{number}", "control-plane", first + _FIRST_CONTROL_PLANE + number - 1)
        for number in range(1, config.control_planes + 1)
    ] + [
        (f"{config.name}-worker-{number}", "worker", first + _FIRST_WORKER + number - 1)
        for number in range(1, config.workers + 1)
    ]
    return [
        Planned(name, role, address, pods, config.machine(short))
        for (name, role, address), pods, short in zip(numbered, subnets, config.machine_names, strict=True)
    ]
