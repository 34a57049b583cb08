"""Faults of the power switch, and the one that does nothing."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from labctl.drill.declare import NodeGoes
from labctl.drill.faults import MISSES, Hit, Plain
from labctl.drill.lab import DrillLab
from labctl.drill.timeline import Timeline
from labctl.errors import LabError
from labctl.providers.base import CanPowerOff

_BORN = ("sh", "-c", "cut -d' ' -f22 /proc/1/stat")
"""when process 1 began: another one after every boot, in containers too"""


@runtime_checkable
class CanShutDown(Protocol):
    """A provider that can ask a machine to shut itself down."""

    def stop(self, machine: str) -> None:
        """As the machine's own `poweroff` would. Idempotent."""


class PowerOff(Plain):
    """The plug is pulled."""

    doing = "cutting its power"
    undoing = "switching it on"
    proven = "is off, and silent"
    unproven = "lost its power"
    node_goes: NodeGoes = "unreachable"
    keeps_serving = False
    is_silencing = True

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Without a switch."""
        del hit
        return _no_switch(lab)

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Cut the power."""
        lab.power.power_off(hit.machine)

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """Switch on."""
        lab.power.power_on(hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The provider says off, and the machine itself fell silent."""
        return timeline is not None and timeline.misses(hit.machine) >= MISSES and lab.power.power(hit.machine) == "off"


class Reboot(PowerOff):
    """The plug is pulled and put back at once; `is_clean`: the machine shuts itself down instead."""

    doing = "rebooting it"
    proven = "has booted"
    unproven = "rebooted"
    node_goes: NodeGoes = "any"
    is_silencing = False

    def __init__(self, *, is_clean: bool) -> None:
        self.is_clean = is_clean

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Without a switch; without a way to shut down, if that is wanted."""
        del hit
        if self.is_clean and not isinstance(lab.power, CanShutDown):
            return "labctl cannot shut this lab's machines down (CanShutDown)"
        return _no_switch(lab)

    def look(self, lab: DrillLab, hit: Hit) -> str:
        """When its first process began."""
        return lab.run_on(hit.machine, _BORN).strip()

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Off and on."""
        if self.is_clean and isinstance(lab.power, CanShutDown):
            lab.power.stop(hit.machine)
        else:
            lab.power.power_off(hit.machine)
        lab.power.power_on(hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """Its first process is another one."""
        del timeline
        try:
            return self.look(lab, hit) != hit.before
        except LabError:
            return False  # it is still on its way


class GracefulShutdown(PowerOff):
    """The machine shuts down, and its kubelet ends the pods before.

    https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#graceful-node-shutdown
    """

    doing = "shutting it down gracefully"
    node_goes: NodeGoes = "shuts-down"
    is_silencing = False  # it speaks on for a while, and all that matters happens then
    proven = "is off, after its kubelet ended its pods"
    unproven = "shut down"

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """Without a way to shut down, without systemd-logind, or where the kubelet does not wait for anything."""
        if not isinstance(lab.power, CanShutDown):
            return "labctl cannot shut this lab's machines down (CanShutDown)"
        logind = lab.run_on(hit.machine, ("sh", "-c", "systemctl is-active systemd-logind || true")).strip()
        if logind != "active":
            return f"{hit.machine} has no systemd-logind ({logind}), which is what a kubelet asks to wait"
        wait = lab.cluster.node_configz(hit.machine).get("shutdownGracePeriod", "0s")
        if wait in ("0s", "0"):
            return f"the kubelet of {hit.machine} has shutdownGracePeriod {wait}: shutdown_grace_s in labctl.yml"
        return ""

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Shut down."""
        if isinstance(lab.power, CanShutDown):
            lab.power.stop(hit.machine)


class Nothing(Plain):
    """A control run: the noise floor."""

    doing = "nothing is done to it"
    undoing = "nothing is undone"
    proven = "is left alone, on purpose"
    unproven = "was left alone"

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """Nothing."""

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """Always."""
        del lab, hit, timeline
        return True


def _no_switch(lab: DrillLab) -> str:
    if isinstance(lab.power, CanPowerOff):
        return ""
    return "labctl has no power switch for this lab's machines (CanPowerOff)"
