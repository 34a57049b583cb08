"""What a provider is: it makes machines and switches them; it stops short of Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from labctl.config import LabConfig
from labctl.events import Emit
from labctl.topology import Planned, Role

Power = Literal["on", "off", "paused", "gone", "unreachable"]
"""unreachable: SSH does not answer, and nobody can say how the switch is."""


@dataclass(frozen=True)
class Machine:
    """One machine of a lab as it is observed now. `name` is also its Kubernetes node's name."""

    name: str
    role: Role
    address: str
    power: Power
    second_address: str = ""
    """of the other family, in a lab with both"""


@dataclass(frozen=True)
class Problem:
    """Something that keeps the provider from working here, and the command that mends it."""

    text: str
    hint: str


@dataclass(frozen=True)
class Way:
    """How a command reaches a machine: the words of ssh up to where the command begins."""

    words: tuple[str, ...]
    is_root: bool
    """else commands go through sudo, which must not ask for a password"""


class Provider(Protocol):
    """Machines of one lab, found by label or by name; nothing else is touched."""

    @property
    def name(self) -> str:
        """As labctl.yml has it."""

    def refuse(self, config: LabConfig) -> None:
        """Raise `UsageError` for what these machines can never be."""

    def caveats(self) -> list[str]:
        """What a person should know, though nothing is wrong."""

    def preflight(self) -> list[Problem]:
        """What is missing, before anything is changed."""

    def obstacles(self, config: LabConfig, *, is_baked: bool) -> list[Problem]:
        """What is in the way of the machines of `config`, before anything is changed."""

    def changes(self, config: LabConfig) -> list[Problem]:
        """What of the machines of `config` was changed behind labctl's back."""

    def shortages(self) -> list[str]:
        """A sentence for each thing that the machines' host has run out of."""

    def plan(self, config: LabConfig) -> list[Planned]:
        """The machines as they shall be; none before `create`, where that chooses addresses."""

    def create(self, config: LabConfig, emit: Emit) -> None:
        """Make the missing machines and start the stopped ones. Idempotent."""

    def machines(self) -> list[Machine]:
        """The lab's machines in any state, control planes first."""

    def destroy(self) -> None:
        """Remove the machines and their network. Idempotent."""

    def collect_logs(self, into: Path) -> None:
        """Write what the machines say of themselves into the folder `into`."""


@runtime_checkable
class HasEngine(Protocol):
    """A provider whose machines are run by a program on this host."""

    def engine_version(self) -> str:
        """Its name and version; the name alone if it does not answer."""


@runtime_checkable
class HasArchitecture(Protocol):
    """A provider whose machines may be of another kind than this host."""

    def architecture(self) -> str:
        """Of all machines, in Go's words."""


@runtime_checkable
class CanPowerOff(Protocol):
    """A provider that holds the power switch."""

    def power_off(self, machine: str) -> None:
        """Cut the power at once, as a pulled plug does. Idempotent."""

    def power_on(self, machine: str) -> None:
        """Switch on. Idempotent."""

    def power(self, machine: str) -> Power:
        """The switch's state, looked up now."""


@runtime_checkable
class CanStop(CanPowerOff, Protocol):
    """A provider that shuts machines down and starts them again."""

    def stop(self, machine: str) -> None:
        """Shut the machine down as its own `poweroff` would. Idempotent."""
