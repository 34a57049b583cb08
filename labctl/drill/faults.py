"""What drills do to machines. A fault is injected only after its intent is on disk; `heal` is idempotent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from labctl.drill.lab import Power
from labctl.drill.timeline import Timeline
from labctl.providers.base import CanPowerOff


class Fault(Protocol):
    """Something that can be done to one machine and undone."""

    @property
    def needs(self) -> type:
        """The provider's capability."""

    def inject(self, power: Power, machine: str) -> None:
        """Do it."""

    def heal(self, power: Power, machine: str) -> None:
        """Undo it. Idempotent; always called."""

    def is_proven(self, power: Power, machine: str, timeline: Timeline) -> bool:
        """Whether the world shows that it happened."""


@dataclass(frozen=True)
class PowerOff:
    """The plug is pulled."""

    needs: type = CanPowerOff
    misses: int = 3
    """the beacon must have been missed so often in a row"""

    def inject(self, power: Power, machine: str) -> None:
        """Cut the power."""
        power.power_off(machine)

    def heal(self, power: Power, machine: str) -> None:
        """Switch on."""
        power.power_on(machine)

    def is_proven(self, power: Power, machine: str, timeline: Timeline) -> bool:
        """The provider says off, and the machine itself fell silent."""
        return timeline.beacon_misses >= self.misses and power.power(machine) == "off"


FAULTS: dict[str, Fault] = {"power-off": PowerOff()}
