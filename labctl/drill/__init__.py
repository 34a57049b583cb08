"""Drills: a fault is declared, predicted, injected, proven, observed, undone and judged.

::

    declare    a drill's file                                 catalog    the files that labctl ships (catalogue/)
    model, verdict   what a plan and a verdict are            lab        what a drill needs of the world (protocols)
    faults     what a fault is                                registry   all of them; those of other packages too
    power, api_faults, inside, node_faults   the faults: of switches, of the API, inside machines
    scheduling   the faults of placement                      preemption   who went for whom (pure)
    descheduler  moves running pods                           rebalance  who came back when (pure)
    settings   live settings, read from the processes         workload   the drill's own pods
    predict    one dead worker: settings -> bands (pure)      outlook    all stages of a drill (pure)
    forecast   every pod of a lab, without doing anything     otherwise  the same with other timings
    gate       steady state, victims, plan                    runner     the phases of a run
    probe      HTTP streams and the victims' beacons          observe    watches -> history
    history    what happened, on disk                         timeline   a history, read into instants (pure)
    measure    numbers out of a timeline (pure)               judge, fates   history + plan -> verdict (pure)
    promises   what was declared, and was it kept (pure)      advice   what would change the prediction (pure)
    remedies, remedies_cluster, remedies_clients   what would change a finding (pure)
    aftermath  what became of the victims' pods (pure)
    journal    what must be undone, on disk                   recovery   undo, verified by looking at the world
    series     several runs as one

The CLI calls `run`, `recover`, `broken` and `running`; `drills` names what can be run.
"""

from labctl.drill.catalog import drills
from labctl.drill.declare import Drill
from labctl.drill.gate import unsupported
from labctl.drill.lab import DrillLab
from labctl.drill.recovery import Recovery, broken, recover, running
from labctl.drill.runner import run
from labctl.drill.verdict import Verdict

__all__ = [
    "Drill",
    "DrillLab",
    "Recovery",
    "Verdict",
    "broken",
    "drills",
    "recover",
    "run",
    "running",
    "unsupported",
]
