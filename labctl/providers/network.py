"""The machines' network: one a lab, on a subnet that nothing on this host uses."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

from labctl import process
from labctl.errors import ProviderError, UsageError
from labctl.providers.engine import Engine

_POOL = IPv4Network("10.203.0.0/16")


def ensure(engine: Engine, name: str, labels: dict[str, str], wanted: IPv4Network | None) -> IPv4Network:
    """The subnet of the network `name`, which is made if it is not there.

    Raises `UsageError` if `wanted` is in use or another than the network has, `ProviderError` if no /24 is free.
    """
    present = subnet(engine, name)
    if present:
        if wanted not in (None, present):
            raise UsageError(
                f"the lab's machines are on {present}, networks.machines says {wanted}", "labctl down, then labctl up"
            )
        return present
    used = _used(engine)
    chosen = wanted or next((net for net in _POOL.subnets(new_prefix=24) if not _clashes(net, used)), None)
    if chosen is None:
        raise ProviderError(f"no /24 of {_POOL} is free on this host", "set networks.machines in labctl.yml")
    clash = _clashes(chosen, used)
    if clash:
        raise UsageError(
            f"networks.machines: {chosen} overlaps {clash}, which this host already uses", "choose another"
        )
    label_words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    engine("network", "create", "--subnet", str(chosen), "--disable-dns", *label_words, name)
    return chosen


def subnet(engine: Engine, name: str) -> IPv4Network | None:
    """The subnet of the network `name`, or None if there is no such network."""
    for network in engine.networks():
        if network["name"] == name:
            return IPv4Network(network["subnets"][0]["subnet"])
    return None


def _used(engine: Engine) -> list[IPv4Network]:
    from_engine = [
        IPv4Network(part["subnet"])
        for net in engine.networks()
        for part in net.get("subnets") or []
        if "." in part["subnet"]
    ]
    routes = json.loads(process.run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout or "[]")
    from_routes = [IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    return from_engine + from_routes


def _clashes(candidate: IPv4Network, used: list[IPv4Network]) -> IPv4Network | None:
    return next((net for net in used if net.overlaps(candidate)), None)
