"""The machines' network: one a lab, on a subnet that nothing on this host uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Network

from labctl import process
from labctl.errors import ProviderError, UsageError, command_for
from labctl.providers import engines
from labctl.providers.engine import Engine, Network
from labctl.topology import network6

PREFIX = "labctl-"
"""Of a network's name; the lab's follows."""

_POOL = IPv4Network("10.203.0.0/16")


def ensure(
    engine: Engine,
    name: str,
    labels: dict[str, str],
    wanted: IPv4Network | None,
    others: Sequence[IPv4Network] = (),
    *,
    has_ipv6: bool = False,
) -> IPv4Network:
    """The subnet of the network `name`, which is made if it is not there; raises as `choose` does."""
    nets = engine.networks()
    chosen = choose(nets, name, wanted, others)
    if not any(net.name == name for net in nets):
        engine.create_network(name, chosen, labels, network6(chosen) if has_ipv6 else None)
    return chosen


def choose(
    nets: Sequence[Network], name: str, wanted: IPv4Network | None, others: Sequence[IPv4Network] = ()
) -> IPv4Network:
    """The subnet that the network `name` has among the engine's `nets`, or would have. Changes nothing.

    It overlaps none of `others`, the lab's networks of pods and services.

    Raises `UsageError` if `wanted` is in use or another than the network has, or if the network's own is routed
    elsewhere by now (a VPN that came later); `ProviderError` if no /24 is free.
    """
    present = next((net for net in nets if net.name == name), None)
    if present:
        return _still_usable(present, wanted)
    used = [*_used(), *others]
    chosen = wanted or next((net for net in _POOL.subnets(new_prefix=24) if not _clashes(net, used)), None)
    if chosen is None:
        raise ProviderError(f"no /24 of {_POOL} is free on this host", "set networks.machines in labctl.yml")
    clash = _clashes(chosen, used)
    if clash:
        raise UsageError(
            f"networks.machines: {chosen} overlaps {clash}, which this host already uses", "choose another"
        )
    return chosen


def _still_usable(net: Network, wanted: IPv4Network | None) -> IPv4Network:
    own = net.subnets[0]
    lab = net.name.removeprefix(PREFIX)
    again = f"{command_for(lab, 'down')}, then {command_for(lab, 'up')}"
    if wanted not in (None, own):
        raise UsageError(f"the lab's machines are on {own}, networks.machines says {wanted}", again)
    for to, by in _routes():
        # What is wider, such as a VPN's 10.0.0.0/8, gives way to the machines' own.
        if net.interface and to.subnet_of(own) and by != net.interface:
            raise UsageError(
                f"the machines' network {own} is routed to {by} by now (a VPN?): {to}",
                f"end that, or {again}: it takes another network",
            )
    return own


def subnet(engine: Engine, name: str) -> IPv4Network | None:
    """The subnet of the network `name`, or None if there is no such network."""
    for network in engine.networks():
        if network.name == name:
            return network.subnets[0]
    return None


def _used() -> list[IPv4Network]:
    """What has a route, and the networks of every engine: podman's have a route only while machines run on them."""
    from_engine = [subnet for engine in engines.working() for net in engine.networks() for subnet in net.subnets]
    return from_engine + [to for to, _ in _routes()]


def _routes() -> list[tuple[IPv4Network, str]]:
    """Where this host sends what is for a network: the interface."""
    routes = json.loads(process.run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout or "[]")
    return [
        (IPv4Network(route["dst"], strict=False), route.get("dev", "nowhere"))
        for route in routes
        if route["dst"] != "default"
    ]


def _clashes(candidate: IPv4Network, used: list[IPv4Network]) -> IPv4Network | None:
    return next((net for net in used if net.overlaps(candidate)), None)
