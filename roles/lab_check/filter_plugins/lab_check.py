"""An Ansible filter: what is wrong with an inventory, a sentence for each thing. It looks at no machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

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
    pods, services = (_network(networks[key], f"lab_{key[:-1]}_network", found) for key in ("pods", "services"))
    if pods and services and pods.overlaps(services):
        found.append(f"The networks of pods ({pods}) and of Services ({services}) overlap.")
    addresses = _read(machines, "node_address", IPv4Address, found)
    found += _twice(addresses, "node_address")
    for name, address in addresses.items():
        found += [
            f"The address of {name}, {address}, is in the network of {what}, {network}."
            for what, network in (("pods", pods), ("Services", services))
            if network and address in network
        ]
    if cni != "none":
        found += _pod_subnets(machines, pods)
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


def _network(text: str, name: str, found: list[str]) -> IPv4Network | None:
    try:
        return IPv4Network(text)
    except ValueError as error:
        found.append(f"{name} is no IPv4 network: {error}.")
        return None


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


def _pod_subnets(machines: Mapping[str, Mapping[str, Any]], pods: IPv4Network | None) -> list[str]:
    found: list[str] = []
    subnets = _read(machines, "node_pod_subnet", IPv4Network, found)
    names = list(subnets)
    for at, name in enumerate(names):
        found += [
            f"The pod subnets of {name} ({subnets[name]}) and {other} ({subnets[other]}) overlap."
            for other in names[at + 1 :]
            if subnets[name].overlaps(subnets[other])
        ]
        if pods and not subnets[name].subnet_of(pods):
            found.append(f"The pod subnet of {name}, {subnets[name]}, is not in the network of pods, {pods}.")
    return found
