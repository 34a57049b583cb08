"""What labctl.yml says of virtual machines. The Vagrantfile reads the same keys, with the same defaults."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.config_machine import Strict

NETWORK = IPv4Network("192.168.56.0/24")
"""Of the machines, unless networks.machines names another: VirtualBox allows 192.168.56.0/21 without being asked."""
CPUS = 2
MEMORY = "2Gi"
"""kubeadm's least for a control plane."""


class Vagrant(Strict):
    """How Vagrant makes the machines."""

    box: Annotated[str, StringConstraints(min_length=1)] = Field(
        default="debian/bookworm64",
        description="a box of the public catalogue, or a local one (vagrant box list): Debian 12 or 13, user vagrant",
    )
    hypervisor: Literal["libvirt", "virtualbox"] = "libvirt"
