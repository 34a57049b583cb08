"""Drills: a fault is declared, predicted, injected, proven, observed, undone and judged.

::

    model      what a drill, a plan and a verdict are          catalog    the drills that labctl ships
    lab        what a drill needs of the world (protocols)     faults     what can be done to a machine
    settings   live settings, read from the processes          predict    settings + topology -> bands (pure)
    workload   the drill's own pods                            gate       steady state, victim, plan
    probe      HTTP streams and the victim's beacon            observe    watches -> history
    history    what happened, on disk                          timeline   a history, read into instants (pure)
    journal    what must be undone, on disk                    recovery   undo, verified by looking at the world
    runner     the phases of a run                             judge      history + plan -> verdict (pure)

The CLI calls `run`, `recover`, `broken` and `running`; `DRILLS` names what can be run.
"""

from labctl.drill.catalog import DRILLS
from labctl.drill.lab import DrillLab
from labctl.drill.model import Drill, Verdict
from labctl.drill.recovery import Recovery, broken, recover, running
from labctl.drill.runner import run

__all__ = ["DRILLS", "Drill", "DrillLab", "Recovery", "Verdict", "broken", "recover", "run", "running"]
