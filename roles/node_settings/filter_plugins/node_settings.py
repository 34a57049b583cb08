"""An Ansible filter: the ways to the pods of each machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

IPV4 = 4


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        """The filter's name."""
        return {"node_settings_ways": ways}


def ways(hostvars: Mapping[str, Mapping[str, Any]], machines: Iterable[str]) -> list[dict[str, str]]:
    """For each pod subnet of each of `machines`: what the machine is called, how `ip` and `nft` call the family, the
    subnet, the machine's address of that family and its first one, and what stands for it on a vxlan device.

    There it has the first address of the subnet, which no pod gets, and an address on the link that follows from its
    own: a locally administered one, as the 2 in 02 says (RFC 7042, 2.1).
    """
    found = []
    for name in machines:
        first = str(hostvars[name]["node_address"])
        addresses = [ip_address(first), *map(ip_address, filter(None, [hostvars[name].get("node_second_address")]))]
        digest = hashlib.sha256(first.encode()).hexdigest()
        link = ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])
        for subnet in map(ip_network, str(hostvars[name]["node_pod_subnet"]).split(",")):
            here = {
                "name": name,
                "ip": "-4" if subnet.version == IPV4 else "-6",
                "nft": "ip" if subnet.version == IPV4 else "ip6",
                "subnet": str(subnet),
                "address": next(str(address) for address in addresses if address.version == subnet.version),
                "machine": first,
                "end": str(subnet.network_address),
                "link": link,
            }
            found.append(here)
    return found
