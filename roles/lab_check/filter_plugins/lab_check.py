"""An Ansible filter: what is wrong with an inventory, a sentence for each thing. It looks at no machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

Network = IPv4Network | IPv6Network
GROUPS = ("control_planes", "workers")
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
ALIKE = {
    "control_planes": {"controlplane", "controller", "master", "server", "cp", "kubemaster", "kubecontrolplane"},
    "workers": {"worker", "node", "agent", "minion", "kubenode", "kubeworker"},
}
"""What people call these groups elsewhere, without signs between the words and without the plural's s."""


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filter's name."""
        return {"lab_check_problems": problems}


def problems(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, list[str]], networks: Mapping[str, str], cni: str
) -> list[str]:
    """All that is wrong; `networks` has the keys pods and services. Empty if a cluster can be made of it."""
    control_planes, workers = (list(groups.get(name, [])) for name in GROUPS)
    machines = {name: hostvars[name] for name in dict.fromkeys(control_planes + workers)}
    found = [*_groups(groups, control_planes, workers)]
    found += [
        f"{name} cannot be the name of a node: small letters, digits, '-' and '.' can."
        for name in machines
        if not NODE_NAME.fullmatch(name)
    ]
    pods, services = (_networks(networks[key], f"lab_{key[:-1]}_network", found) for key in ("pods", "services"))
    if pods and services and [one.version for one in pods] != [one.version for one in services]:
        found.append("lab_pod_network and lab_service_network are not of the same families, IPv4 and IPv6, in one order.")
    found += [
        f"The networks of pods ({one}) and of Services ({other}) overlap."
        for one in pods
        for other in services
        if _overlap(one, other)
    ]
    found += _addresses(machines, [*(("pods", one) for one in pods), *(("Services", one) for one in services)], pods)
    if cni != "none":
        found += _pod_subnets(machines, pods)
    return found


def _addresses(
    machines: Mapping[str, Mapping[str, Any]], networks: list[tuple[str, Network]], pods: list[Network]
) -> list[str]:
    found: list[str] = []
    for at, variable in enumerate(("node_address", "node_second_address")[: len(pods) or 1]):
        addresses = _read(machines, variable, ip_address, found)
        found += _twice(addresses, variable)
        for name, address in addresses.items():
            if pods and address.version != pods[at].version:
                found.append(f"The {variable} of {name}, {address}, is not of the family of {pods[at]}, as its pods are.")
            found += [
                f"The address of {name}, {address}, is in the network of {what}, {network}."
                for what, network in networks
                if address in network
            ]
    return found


def _groups(groups: Mapping[str, list[str]], control_planes: list[str], workers: list[str]) -> Iterator[str]:
    if not control_planes:
        yield "The inventory has no host in the group control_planes: a cluster needs one."
    elif len(control_planes) % 2 == 0:
        yield f"{len(control_planes)} control planes: etcd needs an odd number of members."
    both = [name for name in control_planes if name in workers]
    if both:
        yield f"In both control_planes and workers: {', '.join(both)}."
    for name, hosts in groups.items():
        strays = [host for host in hosts if host not in control_planes + workers]
        meant = next((right for right, words in ALIKE.items() if _plain(name) in words and name != right), None)
        if strays and meant:
            yield f"The group {name} ({', '.join(strays)}) is none that the playbooks know: is {meant} meant?"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def _networks(text: str, name: str, found: list[str]) -> list[Network]:
    """One, or two of both families with a comma between."""
    try:
        networks = [ip_network(word) for word in text.split(",")]
    except ValueError as error:
        found.append(f"{name} is no network: {error}.")
        return []
    if len({network.version for network in networks}) != len(networks):
        found.append(f"{name} has two networks of one family: {text}.")
        return []
    return networks


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _read(
    machines: Mapping[str, Mapping[str, Any]], variable: str, kind: Callable[[str], Any], found: list[str]
) -> dict[str, Any]:
    """The variable of each machine; those that have none, or a wrong one, are told."""
    read = {}
    for name, variables in machines.items():
        value = variables.get(variable)
        try:
            if not value:
                found.append(f"{name} has no {variable}: inventories/README.md says what it is.")
            else:
                read[name] = kind(str(value))
        except ValueError as error:
            found.append(f"The {variable} of {name} is wrong: {error}.")
    return read


def _twice(values: Mapping[str, Any], variable: str) -> Iterable[str]:
    for value in dict.fromkeys(values.values()):
        names = [name for name, other in values.items() if other == value]
        if len(names) > 1:
            yield f"{' and '.join(names)} have the same {variable}: {value}."


def _pod_subnets(machines: Mapping[str, Mapping[str, Any]], pods: list[Network]) -> list[str]:
    found: list[str] = []
    read = _read(machines, "node_pod_subnet", lambda text: [ip_network(word) for word in text.split(",")], found)
    names = list(read)
    for at, name in enumerate(names):
        found += [
            f"The pod subnets of {name} ({one}) and {other} ({another}) overlap."
            for other in names[at + 1 :]
            for one in read[name]
            for another in read[other]
            if _overlap(one, another)
        ]
        if pods and [one.version for one in read[name]] != [network.version for network in pods]:
            found.append(f"The node_pod_subnet of {name} has not one subnet of each of {', '.join(map(str, pods))}.")
            continue
        found += [
            f"The pod subnet of {name}, {one}, is not in the network of pods, {network}."
            for one, network in zip(read[name], pods)  # noqa: B905 (none are there if a network is wrong)
            if not one.subnet_of(network)
        ]
    return found
