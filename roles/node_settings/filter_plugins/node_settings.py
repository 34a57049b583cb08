"""An Ansible filter: the ways to the pods of each machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        """The filter's name."""
        return {"node_settings_ways": ways}


def ways(hostvars: Mapping[str, Mapping[str, Any]], machines: Iterable[str]) -> list[dict[str, str]]:
    """For each of `machines` its pod subnet, the machine's address, and what stands for it on a vxlan device.

    There the machine has the first address of its subnet, which no pod gets, and an address on the link that follows
    from its own: a locally administered one, as the 2 in 02 says (RFC 7042, 2.1).
    """
    found = []
    for name in machines:
        address, subnet = str(hostvars[name]["node_address"]), ip_network(str(hostvars[name]["node_pod_subnet"]))
        digest = hashlib.sha256(address.encode()).hexdigest()
        link = ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])
        found.append(
            {"name": name, "subnet": str(subnet), "address": address, "end": str(subnet.network_address), "link": link}
        )
    return found
