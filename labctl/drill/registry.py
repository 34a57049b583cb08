"""All faults, by name: labctl's own, and those that installed packages bring (entry point group ``labctl.faults``).

A package declares ``[project.entry-points."labctl.faults"]`` with ``name = "module:FAULT"``, an object that has what
`labctl.drill.faults.Fault` describes. Observers of its own come the same way, in the group ``labctl.observers``:
a function of the plan that returns `labctl.drill.lab.Observer` objects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from labctl.drill import api_faults, descheduler, power, scheduling
from labctl.drill.faults import Fault
from labctl.drill.inside import Inside
from labctl.drill.lab import Observer
from labctl.drill.model import Plan
from labctl.drill.node_faults import NODE_FAULTS
from labctl.errors import UsageError

_OWN: dict[str, Fault] = {
    "nothing": power.Nothing(),
    "power-off": power.PowerOff(),
    "reboot": power.Reboot(is_clean=False),
    "reboot-clean": power.Reboot(is_clean=True),
    "graceful-shutdown": power.GracefulShutdown(),
    "cordon": api_faults.Cordon(),
    "drain": api_faults.Drain(),
    "pod-delete": api_faults.PodDelete(),
    "node-delete": api_faults.NodeDelete(),
    "out-of-service": api_faults.OutOfService(),
    "zone": api_faults.Zone(),
    "stray-pod": api_faults.StrayPod(),
    "low-priority-pods": scheduling.LowPriorityPods(),
    "high-priority-pod": scheduling.HighPriorityPod(),
    "descheduler": descheduler.Descheduler(),
    "replicaset-scale": api_faults.ReplicaSetScale(),
    **{name: Inside(fault) for name, fault in NODE_FAULTS.items()},
}


@cache
def faults() -> dict[str, Fault]:
    """All of them; labctl's own cannot be replaced."""
    foreign = {point.name: cast("Fault", point.load()) for point in entry_points(group="labctl.faults")}
    return {**foreign, **_OWN}


def fault(name: str) -> Fault:
    """The fault of that name. Raises `UsageError` if there is none."""
    if name not in faults():
        raise UsageError(f"there is no fault {name}; there are {', '.join(sorted(faults()))}")
    return faults()[name]


def foreign_observers(plan: Plan) -> list[Observer]:
    """What installed packages want to observe in this run."""
    points = entry_points(group="labctl.observers")
    makers = [cast("Callable[[Plan], list[Observer]]", point.load()) for point in points]
    return [observer for make in makers for observer in make(plan)]
