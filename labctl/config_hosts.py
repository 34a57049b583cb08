"""What labctl.yml says of machines that labctl does not make: where they are, what it may do to them, their power."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from labctl.config_machine import Strict
from labctl.config_networks import NODE_PREFIXES, Address, Network

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
"""It becomes the Kubernetes node's name."""
OF_HOSTS = ("hosts", "inventory", "ssh", "consent", "power", "leave_alone")
"""Keys of labctl.yml that say nothing of containers."""
LeftAlone = Literal["swap", "modules", "time", "selinux", "apparmor", "firewall", "network_manager"]
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?")


def _address(text: str) -> str:
    if not (_NAME.fullmatch(text) or _is_ipv6(text)):
        raise ValueError(f"{text!r} is no name or address")
    return text


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _template(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise ValueError("wants a command as a list of words")
    for word in words:
        try:
            word.format(name="", address="")
        except (LookupError, ValueError) as error:
            raise ValueError(f"{word!r}: only {{name}} and {{address}} may stand in braces") from error
    return words


Command = Annotated[tuple[str, ...], AfterValidator(_template)]


class Ssh(Strict):
    """How a machine is reached; what is not said, ssh's own configuration says."""

    user: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    key: str | None = Field(
        default=None, description="private key, relative to this file; without: ssh's own, or agent"
    )
    jump: str | None = Field(default=None, description="host to go through, as ssh -J takes it: user@bastion:22")
    known_hosts: str | None = Field(default=None, description="file with the machines' host keys; without: ssh's own")
    become: bool | None = Field(default=None, description="sudo, without a password; needed unless the user is root")
    options: tuple[str, ...] = Field(default=(), description="further words for ssh")

    def over(self, other: Ssh) -> Ssh:
        """What this says, and what `other` says where this says nothing."""
        mine = {name: getattr(self, name) for name in Ssh.model_fields}
        return Ssh(**{name: value if value not in (None, ()) else getattr(other, name) for name, value in mine.items()})


def _bmc_url(text: str) -> str:
    try:
        parts = urlsplit(text.format(name="name", address="192.0.2.1"))
    except (LookupError, ValueError) as error:
        raise ValueError("only {name} and {address} may stand in braces") from error
    if parts.username or parts.password:
        raise ValueError("holds no user and no password: user and password_file do")
    is_here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not is_here):
        raise ValueError("must begin with https://, for a password goes there")
    return text


class Redfish(Strict):
    """A BMC that holds a machine's power switch, by Redfish."""

    url: Annotated[str, AfterValidator(_bmc_url)] | None = Field(
        default=None, description="https://, of the BMC; {name} and {address} stand for the machine's"
    )
    user: str | None = None
    password_file: str | None = Field(
        default=None, description="file with the password alone, that nobody else may read; relative to this file"
    )
    ca: str | None = Field(default=None, description="PEM file that vouches for the BMC; without: this host's own")
    verify: bool | None = Field(default=None, description="false: the BMC may be anybody (its certificate is its own)")
    system: str | None = Field(default=None, description="path of the system; by default the BMC's only one")

    def over(self, other: Redfish) -> Redfish:
        """What this says, and what `other` says where this says nothing."""
        return Redfish(**{key: _first(getattr(self, key), getattr(other, key)) for key in Redfish.model_fields})


def _first(mine: Any, other: Any) -> Any:  # noqa: ANN401 (whatever the field is)
    return other if mine is None else mine


class PowerSwitch(Strict):
    """What holds the power switch: commands of yours, as lists of words with {name} and {address}, or a BMC."""

    off: Command | None = Field(default=None, description="cuts the power at once, as a pulled plug does")
    on: Command | None = None
    status: Command | None = Field(default=None, description="prints on or off (or running, stopped, exited, shut off)")
    redfish: Redfish | None = Field(default=None, description="instead of commands; needs labctl[redfish]")

    @model_validator(mode="before")
    @classmethod
    def _are_words(cls, data: Any) -> Any:  # noqa: ANN401 (whatever was given)
        """To YAML 1.1, off and on are false and true."""
        if not isinstance(data, dict):
            return data
        return {{False: "off", True: "on"}.get(key, key): value for key, value in data.items()}

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        commands = [self.off, self.on, self.status]
        if self.redfish is not None and any(commands):
            msg = "commands and redfish both hold the switch: keep one of them"
            raise ValueError(msg)
        if self.redfish is None and not all(commands):
            msg = "wants off, on and status, or redfish"
            raise ValueError(msg)
        return self

    def over(self, other: PowerSwitch | None) -> PowerSwitch:
        """This, and of a BMC what `other` says where this says nothing."""
        if self.redfish is None or other is None or other.redfish is None:
            return self
        return PowerSwitch(redfish=self.redfish.over(other.redfish))


class Host(Ssh):
    """One machine that is there already."""

    power: PowerSwitch | None = Field(default=None, description="its own power switch, where it is not that of all")

    role: Literal["control-plane", "worker"] = "worker"
    address: Annotated[str, AfterValidator(_address)] = Field(description="where SSH reaches it")
    node_address: Address = Field(
        default=IPv4Address(0), description="where the other machines reach it; by default the address"
    )
    node_second_address: IPv6Address | None = Field(
        default=None, description="where they reach it by IPv6, with networks.family: dual"
    )
    pod_subnet: Network | None = Field(
        default=None, description="a /24 of networks.pods (/64 of pods6, with ipv6); by default the next free one"
    )
    second_pod_subnet: IPv6Network | None = Field(
        default=None, description="with networks.family: dual, a /64 of networks.pods6, likewise"
    )

    @model_validator(mode="after")
    def _has_a_node_address(self) -> Self:
        if self.node_address == IPv4Address(0):
            try:
                # Frozen: the only time that it is set.
                object.__setattr__(self, "node_address", ip_address(self.address))
            except ValueError as error:
                msg = f"{self.address} is a name: node_address must say which address the other machines use"
                raise ValueError(msg) from error
        return self


class Consent(Strict):
    """What labctl may do to machines that it did not make. Nothing of it is assumed."""

    drills: bool = Field(default=False, description="drills may break them for a while")
    reset: bool = Field(default=False, description="at the end they may be changed back to what they were")


def refuse_half_switches(switches: Mapping[str, PowerSwitch | None]) -> None:
    """Raise `ValueError` for machines without a switch beside others with one, and for half a BMC."""
    without = [name for name, switch in switches.items() if switch is None]
    if without and len(without) < len(switches):
        msg = f"power: {', '.join(without)} has no switch, and others have: say it of all, or of none"
        raise ValueError(msg)
    for name, switch in switches.items():
        bmc = switch.redfish if switch else None
        lacks = [key for key in ("url", "user", "password_file") if bmc and not getattr(bmc, key)]
        if lacks:
            msg = f"power.redfish: {', '.join(lacks)} of the BMC of {name} is not said"
            raise ValueError(msg)


def refuse_clashes(hosts: Mapping[str, Host], pods: Sequence[Network], services: Sequence[Network]) -> None:
    """Raise `ValueError` for addresses and pod subnets that cannot be beside each other.

    `pods` and `services` have one network of each family of addresses.
    """
    for name, host in hosts.items():
        _refuse_other_family(name, host, pods)
    addresses = [address for host in hosts.values() for address in addresses_of(host)]
    twice = next((address for address in addresses if addresses.count(address) > 1), None)
    if twice:
        names = " and ".join(name for name, host in hosts.items() if twice in addresses_of(host))
        msg = f"hosts: {names} have the same address {twice}"
        raise ValueError(msg)
    for key, networks in (("pods", pods), ("services", services)):
        for network in networks:
            inside = next((address for address in addresses if address in network), None)
            if inside:
                msg = f"networks.{key}: the address {inside} of a host is in {network}"
                raise ValueError(msg)
    taken: dict[Network, str] = {}
    for name, host in hosts.items():
        for subnet, network in zip((host.pod_subnet, host.second_pod_subnet), pods, strict=False):
            if subnet is not None:
                _refuse_subnet(name, subnet, network, taken)


def addresses_of(host: Host) -> list[Address]:
    """Those at which the other machines reach it; the preferred one first."""
    return [address for address in (host.node_address, host.node_second_address) if address is not None]


def _refuse_other_family(name: str, host: Host, pods: Sequence[Network]) -> None:
    if host.node_address.version != pods[0].version:
        msg = f"hosts.{name}: node_address {host.node_address} is not of IPv{pods[0].version}, as networks.family asks"
        raise ValueError(msg)
    if (host.node_second_address is not None) != (len(pods) > 1):
        lacks = "has no node_second_address" if len(pods) > 1 else "has a node_second_address"
        msg = f"hosts.{name}: {lacks}: that goes with networks.family: dual"
        raise ValueError(msg)


def _refuse_subnet(name: str, subnet: Network, network: Network, taken: dict[Network, str]) -> None:
    """`taken` are those of the hosts before; this one is added."""
    prefix = NODE_PREFIXES[network.version]
    if subnet.version != network.version or subnet.prefixlen != prefix or not subnet.subnet_of(network):  # type: ignore[arg-type] # of one family by now
        msg = f"hosts.{name}: pod_subnet {subnet} must be a /{prefix} of {network}"
        raise ValueError(msg)
    if subnet in taken:
        msg = f"hosts.{name}: pod_subnet {subnet} is that of {taken[subnet]} too"
        raise ValueError(msg)
    taken[subnet] = name
