"""What labctl.yml says of one machine: resources, labels, taints, mounts, ports. `labctl.config` puts it together."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_UNITS_MIB = {"Mi": 1, "Gi": 1024}
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
_TAINT = re.compile(rf"(?P<key>{_KEY})(=(?P<value>({_NAME})?))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")
_OWN = ("/", "/boot", "/dev", "/etc", "/opt", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var")  # noqa: S108 (inside the machine)


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _label_key(text: str) -> str:
    if not re.fullmatch(_KEY, text):
        raise ValueError(f"{text!r} is no label key, such as disk or example.org/disk")
    return text


def _label_value(text: str) -> str:
    if text and not re.fullmatch(_NAME, text):
        raise ValueError("a label's value has up to 63 letters, digits, '-', '_' and '.'")
    return text


def _taint(text: str) -> str:
    if not _TAINT.fullmatch(text):
        raise ValueError("wants key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute")
    return text


def _machine_path(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or {":", ","} & set(text):
        raise ValueError("wants an absolute path without '..', ':' and ','")
    if str(path) in _OWN:
        raise ValueError(f"{path} is the machine's own; a folder below it is fine")
    return str(path)


def _host_path(text: str) -> str:
    if not text or {":", ","} & set(text):
        raise ValueError("wants a path without ':' and ','")
    return text


class Mount(Strict):
    """A file or folder of this host, seen by the machine."""

    host: Annotated[str, AfterValidator(_host_path), Field(description="relative to the configuration file")]
    machine: Annotated[str, AfterValidator(_machine_path), Field(description="where the machine sees it")]
    read_only: bool = False


class Port(Strict):
    """A port of this host that leads to a machine's."""

    host: Annotated[int, Field(ge=1, le=65535)]
    machine: Annotated[int, Field(ge=1, le=65535, description="such as a Service's NodePort")]
    listen: IPv4Address = Field(default=IPv4Address("127.0.0.1"), description="0.0.0.0: this host's whole network")
    protocol: Literal["tcp", "udp"] = "tcp"

    def clashes(self, other: Port) -> bool:
        """Whether both cannot be had at once."""
        if (self.host, self.protocol) != (other.host, other.protocol):
            return False
        anywhere = IPv4Address(0)
        return self.listen == other.listen or anywhere in (self.listen, other.listen)

    def __str__(self) -> str:
        return f"{self.listen}:{self.host}/{self.protocol}"


class MachineSettings(Strict):
    """One machine, or every machine; nothing said of CPUs and memory means: as much as this host has."""

    cpus: Annotated[float, Field(gt=0, description="CPUs a machine may use, such as 1.5")] | None = None
    memory: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[1-9][0-9]*[MG]i$"),
            Field(description="such as 2Gi or 1500Mi"),
        ]
        | None
    ) = None
    labels: dict[Annotated[str, AfterValidator(_label_key)], Annotated[str, AfterValidator(_label_value)]] = Field(
        default={}, description="of the Kubernetes node"
    )
    taints: tuple[Annotated[str, AfterValidator(_taint)], ...] = Field(
        default=(), description="of the Kubernetes node, as kubectl writes them: dedicated=db:NoSchedule"
    )
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()

    def with_(self, more: MachineSettings) -> MachineSettings:
        """What `more` says beside this, and instead of it where only one can be."""
        return MachineSettings(
            cpus=more.cpus or self.cpus,
            memory=more.memory or self.memory,
            labels={**self.labels, **more.labels},
            taints=tuple(dict.fromkeys([*self.taints, *more.taints])),
            mounts=self.mounts + more.mounts,
            ports=self.ports + more.ports,
        )

    @property
    def made_of(self) -> dict[str, object]:
        """What cannot be changed on a machine that exists."""
        return self.model_dump(mode="json", include={"cpus", "memory", "mounts", "ports"})


def mebibytes(memory: str) -> int:
    """How much ``2Gi`` or ``1500Mi`` is."""
    return int(memory[:-2]) * _UNITS_MIB[memory[-2:]]


def taint_parts(text: str) -> dict[str, str]:
    """``key=value:Effect`` as the Kubernetes API has it."""
    found = _TAINT.fullmatch(text)
    assert found is not None, text
    return {key: value for key in ("key", "value", "effect") if (value := found[key])}
