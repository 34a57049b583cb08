"""Faults inside a machine (`node_faults`) as the engine wants them."""

from __future__ import annotations

from labctl.drill.faults import MISSES, Hit, Plain
from labctl.drill.lab import DrillLab
from labctl.drill.node_faults import NodeFault
from labctl.drill.timeline import Timeline
from labctl.errors import LabError


class Inside(Plain):
    """A fault that a script on the machine does and undoes, by itself if nobody else does."""

    def __init__(self, fault: NodeFault) -> None:
        self._fault = fault
        self.doing, self.undoing = fault.doing, fault.undoing
        self.proven, self.unproven = fault.proven, fault.unproven
        self.node_goes = fault.node_goes
        self.keeps_serving = fault.keeps_serving
        self.is_silencing = fault.silences_beacon

    def unsupported(self, lab: DrillLab, hit: Hit) -> str:
        """What the machine says."""
        return self._fault.unsupported(lab.run_on, hit.machine, hit.args)

    def inject(self, lab: DrillLab, hit: Hit) -> None:
        """With a timer there that undoes it."""
        self._fault.inject(lab.run_on, hit.machine, hit.undo_after_s, hit.args)

    def heal(self, lab: DrillLab, hit: Hit) -> None:
        """And take the timer away."""
        self._fault.heal(lab.run_on, hit.machine)

    def is_proven(self, lab: DrillLab, hit: Hit, timeline: Timeline | None) -> bool:
        """The machine shows it; if the fault silences the machine, that was noticed too."""
        if self.is_silencing and (timeline is None or timeline.misses(hit.machine) < MISSES):
            return False
        try:
            return bool(self._fault.is_active(lab.run_on, hit.machine))
        except LabError:
            return False
