"""What drills do to machines. A fault is injected only after its intent is on disk; `heal` is idempotent.

A fault inside a machine arms a timer there first, which undoes it if nobody else does: that needs neither labctl nor a
way to the machine. A power switch cannot be such a timer: `labctl recover` looks at the machines.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from labctl.drill.lab import DrillLab
from labctl.drill.timeline import Timeline
from labctl.providers.base import CanPowerOff

MISSES = 3
"""the beacon must have been missed so often in a row"""
UNITS = ("containerd", "kubelet")
"""of a machine; recovery starts them"""


class Fault(Protocol):
    """Something that can be done to one machine and undone. The words are about the machine."""

    needs: ClassVar[type | None]
    """the provider's capability"""
    doing: ClassVar[str]
    undoing: ClassVar[str]
    proven: ClassVar[str]
    unproven: ClassVar[str]
    keeps_serving: ClassVar[bool]
    """whether the machine's pods answer as long as they are in a Service"""

    def inject(self, lab: DrillLab, machine: str, undo_after_s: float) -> None:
        """Do it. What can be undone on the machine itself is, after `undo_after_s`."""

    def heal(self, lab: DrillLab, machine: str) -> None:
        """Undo it. Idempotent; always called."""

    def is_proven(self, lab: DrillLab, machine: str, timeline: Timeline) -> bool:
        """Whether the world shows that it happened."""


class PowerOff:
    """The plug is pulled."""

    needs: ClassVar[type | None] = CanPowerOff
    doing: ClassVar[str] = "cutting its power"
    undoing: ClassVar[str] = "switching it on"
    proven: ClassVar[str] = "is off, and silent"
    unproven: ClassVar[str] = "lost its power"
    keeps_serving: ClassVar[bool] = False

    def inject(self, lab: DrillLab, machine: str, undo_after_s: float) -> None:  # noqa: ARG002 (nobody could)
        """Cut the power."""
        lab.power.power_off(machine)

    def heal(self, lab: DrillLab, machine: str) -> None:
        """Switch on."""
        lab.power.power_on(machine)

    def is_proven(self, lab: DrillLab, machine: str, timeline: Timeline) -> bool:
        """The provider says off, and the machine itself fell silent."""
        return timeline.beacon_misses >= MISSES and lab.power.power(machine) == "off"


class KubeletStop:
    """The kubelet's unit is stopped. Were it killed, systemd would start it again, and its node never be NotReady."""

    needs: ClassVar[type | None] = None
    doing: ClassVar[str] = "stopping its kubelet"
    undoing: ClassVar[str] = "starting its kubelet"
    proven: ClassVar[str] = "has no kubelet any more"
    unproven: ClassVar[str] = "lost its kubelet"
    keeps_serving: ClassVar[bool] = True

    def inject(self, lab: DrillLab, machine: str, undo_after_s: float) -> None:
        """Arm the timer, then stop the unit."""
        arm = f"systemd-run --quiet --unit={_UNDO} --on-active={undo_after_s:.0f}s systemctl start kubelet"
        lab.run_on(machine, ("sh", "-c", f"{_DISARM}; {arm} && systemctl stop kubelet"))

    def heal(self, lab: DrillLab, machine: str) -> None:
        """Start the unit, then take the timer away."""
        lab.run_on(machine, ("sh", "-c", f"systemctl start kubelet && {_DISARM}"))

    def is_proven(self, lab: DrillLab, machine: str, timeline: Timeline) -> bool:
        """The kubelet's port fell silent, and systemd says that the unit is stopped."""
        if timeline.beacon_misses < MISSES:
            return False
        return lab.run_on(machine, ("sh", "-c", "systemctl is-active kubelet || true")).strip() == "inactive"


_UNDO = "labctl-undo-kubelet"
_DISARM = (
    f"{{ systemctl stop {_UNDO}.timer {_UNDO}.service; systemctl reset-failed {_UNDO}.service; }} 2>/dev/null; true"
)
_START = "for unit in %s; do systemctl is-active --quiet $unit || { systemctl start $unit && echo $unit; }; done"
START_UNITS = ("sh", "-c", f"{_START % ' '.join(UNITS)}; {_DISARM}")
"""Starts what a fault stopped, whoever did it, and takes the timers away. Prints what it started."""

FAULTS: dict[str, Fault] = {"power-off": PowerOff(), "kubelet-stop": KubeletStop()}
