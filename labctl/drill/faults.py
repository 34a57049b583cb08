"""What drills do. A fault is injected only after its intent is on disk; `heal` is idempotent.

A fault inside a machine arms a timer there first, which undoes it if nobody else does: that needs neither labctl nor a
way to the machine. Power switches and objects of the API cannot have such a timer: `labctl recover` looks at the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from labctl.drill.declare import NodeGoes
from labctl.drill.lab import DrillLab
from labctl.drill.timeline import Timeline

MISSES = 3
"""the beacon must have been missed so often in a row"""


@dataclass(frozen=True)
class Hit:
    """A fault on one machine. What can be undone on the machine itself is, after `undo_after_s`."""

    machine: str
    args: Mapping[str, str] = field(default_factory=dict)
    undo_after_s: float = 600.0
    before: str = ""
    """what the fault saw before it (`Fault.look`)"""


class Fault(Protocol):
    """Something that can be done to a machine, or to what runs there, and undone. The words are about the machine."""

    @property
    def doing(self) -> str: ...  # noqa: D102
    @property
    def undoing(self) -> str: ...  # noqa: D102
    @property
    def proven(self) -> str: ...  # noqa: D102
    @property
    def unproven(self) -> str: ...  # noqa: D102
    @property
    def node_goes(self) -> NodeGoes:
        """What Kubernetes makes of the node."""

    @property
    def keeps_serving(self) -> bool:
        """Whether the machine's pods answer as long as they are in a Service."""

    @property
    def is_silencing(self) -> bool:
        """Whether the machine's own sign of life stops."""

    @property
    def evicts(self) -> bool:
        """Whether the drill's pods on the machine are asked to leave at once."""

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Why it cannot be done here, or nothing. Changes nothing."""

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """What must be known to prove it or to undo it; it is in the journal before anything is done."""

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Do it."""

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Undo it. Idempotent; always called."""

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """Whether the world shows that it happened."""


class Plain:
    """What most faults have in common: possible everywhere, nothing to be known before, not seen by Kubernetes."""

    node_goes: NodeGoes = "stays"
    keeps_serving = True
    is_silencing = False
    evicts = False

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Possible everywhere."""
        del lab, hit
        return ""

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """Nothing."""
        del lab, hit
        return ""

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Nothing: what it was done to goes with the drill's namespace, or comes back by itself."""
