"""What labctl.yml says of a lab's networks: families of addresses, pods, Services, the size of packets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from labctl.config_machine import Strict

NODE_PREFIXES = {4: 24, 6: 64}
"""Of the pod subnet of a node, by the version of IP: those that Kubernetes itself would take."""
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_MACHINES_PREFIX = 24
LEAST_MTU6 = 1280
"""Bytes of a packet that every link with IPv6 carries (RFC 8200, 5)."""
AROUND_VXLAN = 70
"""Bytes around such a packet, at most: roles/node_settings/vars/main.yml."""
_SERVICES6_PREFIX = 108
"""kubeadm takes 20 bits of Services' addresses at most (its constant MaximumBitsForServiceSubnet)."""


class Networks(Strict):
    """Networks of the lab, of one family of addresses or both."""

    family: Literal["ipv4", "dual", "ipv6"] = Field(
        default="ipv4",
        description="addresses of machines, pods and Services: dual: IPv4, and IPv6 beside it; ipv6: IPv6 alone",
    )

    machines: IPv4Network | None = Field(
        default=None, description="the machines' own network, a /24; by default the first free one of 10.203.0.0/16"
    )
    pods: IPv4Network = Field(default=IPv4Network("10.244.0.0/16"), description="split into a /24 for each node")
    services: IPv4Network = Field(default=IPv4Network("10.96.0.0/16"))
    pods6: IPv6Network = Field(
        default=IPv6Network("fd00:10:244::/56"), description="with dual or ipv6; split into a /64 for each node"
    )
    services6: IPv6Network = Field(default=IPv6Network("fd00:10:96::/112"), description="with dual or ipv6")
    mtu: Annotated[int, Field(ge=1280, le=65535)] | None = Field(
        default=None,
        description="bytes of the largest packet that the way between the machines carries; by default what their "
        "interface does",
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        named = {"machines": self.machines, "pods": self.pods, "services": self.services}
        known = [(name, network) for name, network in named.items() if network is not None]
        for at, (name, network) in enumerate(known):
            for other_name, other in known[at + 1 :]:
                if network.overlaps(other):
                    msg = f"{name} {network} and {other_name} {other} overlap"
                    raise ValueError(msg)
        if self.pods6.overlaps(self.services6):
            msg = f"pods6 {self.pods6} and services6 {self.services6} overlap"
            raise ValueError(msg)
        if self.services6.prefixlen < _SERVICES6_PREFIX:
            msg = f"services6 must be a /{_SERVICES6_PREFIX} or smaller, not {self.services6}"
            raise ValueError(msg)
        if self.machines is not None and self.machines.prefixlen != _MACHINES_PREFIX:
            msg = f"machines must be a /{_MACHINES_PREFIX}, not {self.machines}"
            raise ValueError(msg)
        return self

    @property
    def of_pods(self) -> tuple[Network, ...]:
        """Those of pods; the first one's family is the one that Kubernetes prefers."""
        return _of_family(self.family, self.pods, self.pods6)

    @property
    def of_services(self) -> tuple[Network, ...]:
        """Those of the Services' addresses, likewise."""
        return _of_family(self.family, self.services, self.services6)


def _of_family(family: str, four: IPv4Network, six: IPv6Network) -> tuple[Network, ...]:
    both: dict[str, tuple[Network, ...]] = {"ipv4": (four,), "dual": (four, six), "ipv6": (six,)}
    return both[family]
