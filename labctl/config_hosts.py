"""What labctl.yml says of machines that labctl does not make: where they are, what it may do to them, their power."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from labctl.config_machine import Strict

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")]
"""It becomes the Kubernetes node's name."""
OF_HOSTS = ("hosts", "inventory", "ssh", "consent", "power", "leave_alone")
"""Keys of labctl.yml that say nothing of containers."""
_POD_PREFIX = 24
LeftAlone = Literal["swap", "modules", "time", "selinux", "apparmor", "firewall", "network_manager"]
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?")


def _address(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name or IPv4 address")
    return text


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
    node_address: IPv4Address = Field(
        default=IPv4Address(0), description="where the other machines reach it; by default the address"
    )
    pod_subnet: IPv4Network | None = Field(
        default=None, description="a /24 of networks.pods; by default the next free one"
    )

    @model_validator(mode="after")
    def _has_a_node_address(self) -> Self:
        if self.node_address == IPv4Address(0):
            try:
                # Frozen: the only time that it is set.
                object.__setattr__(self, "node_address", IPv4Address(self.address))
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


def refuse_clashes(hosts: Mapping[str, Host], pods: IPv4Network, services: IPv4Network) -> None:
    """Raise `ValueError` for addresses and pod subnets that cannot be beside each other."""
    addresses = [host.node_address for host in hosts.values()]
    twice = next((address for address in addresses if addresses.count(address) > 1), None)
    if twice:
        names = " and ".join(name for name, host in hosts.items() if host.node_address == twice)
        msg = f"hosts: {names} have the same address {twice}"
        raise ValueError(msg)
    for name, network in (("pods", pods), ("services", services)):
        inside = next((address for address in addresses if address in network), None)
        if inside:
            msg = f"networks.{name}: the address {inside} of a host is in {network}"
            raise ValueError(msg)
    taken: dict[IPv4Network, str] = {}
    for name, host in hosts.items():
        if host.pod_subnet is None:
            continue
        if host.pod_subnet.prefixlen != _POD_PREFIX or not host.pod_subnet.subnet_of(pods):
            msg = f"hosts.{name}: pod_subnet {host.pod_subnet} must be a /{_POD_PREFIX} of {pods}"
            raise ValueError(msg)
        if host.pod_subnet in taken:
            msg = f"hosts.{name}: pod_subnet {host.pod_subnet} is that of {taken[host.pod_subnet]} too"
            raise ValueError(msg)
        taken[host.pod_subnet] = name
