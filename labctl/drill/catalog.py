"""The drills that labctl ships: YAML files beside this module, and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from labctl.drill.declare import Drill, load
from labctl.errors import UsageError

_FOLDER = Path(__file__).parent / "catalogue"
SHORT = "node-failure"
"""the suite that `labctl drill` runs by itself"""


@cache
def drills() -> dict[str, Drill]:
    """All shipped drills, by name, in the order of their groups."""
    found = [load(path) for path in sorted(_FOLDER.glob("*.yml"))]
    return {drill.name: drill for drill in sorted(found, key=lambda drill: (_GROUPS.index(drill.group), drill.name))}


def find(name: str) -> Drill:
    """The shipped drill `name`, or the one in the file of that name. Raises `UsageError`."""
    if name in drills():
        return drills()[name]
    if name.endswith((".yml", ".yaml")) or "/" in name:
        return load(Path(name))
    raise UsageError(f"there is no drill {name}", "labctl drill --list shows them; a file of your own ends in .yml")


def suite(name: str) -> list[Drill]:
    """The drills of a suite; ``all`` has every one. Raises `UsageError`."""
    found = [drill for drill in drills().values() if name == "all" or name in (*drill.suites, drill.group)]
    if not found:
        known = sorted({suite for drill in drills().values() for suite in (*drill.suites, drill.group)})
        raise UsageError(f"there is no suite {name}; there are all, {', '.join(known)}")
    return found


_GROUPS = (
    "power",
    "service",
    "network",
    "resource",
    "policy",
    "state",
    "certificate",
    "control-plane",
    "own",
)
