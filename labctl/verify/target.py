"""What is verified: the machines of an Ansible inventory, labctl's own or a person's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from labctl import inventory_file, paths, state
from labctl.errors import StateError, UsageError, command_for

_EXAMPLE = "inventories/README.md says what an inventory must have"


@dataclass(frozen=True)
class Target:
    """`kubernetes` is the version, where it is known; `control` the folder of the inventory's SSH control sockets."""

    name: str
    inventory: Path
    kubernetes: str = ""
    control: Path | None = None

    @property
    def is_lab(self) -> bool:
        """Whether labctl made it."""
        return self.control is not None

    @classmethod
    def lab(cls, name: str) -> Target:
        """A lab of labctl's. Raises `UsageError` if there is none, `StateError` if it was not finished."""
        record, inventory = state.get(name), paths.LabPaths(name).inventory
        if not inventory.exists():
            raise StateError(f"the lab {name} was not finished", f"{command_for(name, 'up')} takes it up again")
        if not _is_whole(inventory):
            raise StateError(f"{inventory} is no inventory any more", f"{command_for(name, 'up')} writes it again")
        return cls(name, inventory, record.config.kubernetes, paths.ssh_control(paths.LabPaths(name).folder))

    @classmethod
    def by_hand(cls, inventory: Path) -> Target:
        """A cluster that the playbooks made. Raises `UsageError` if the inventory is none of such a cluster."""
        wrong = _wrong_with(inventory)
        if wrong:
            raise UsageError(f"--inventory {inventory}: {wrong}", _EXAMPLE)
        return cls(str(inventory), inventory)


def _is_whole(inventory: Path) -> bool:
    """Whether it is still what labctl wrote, by a quick look: Ansible itself takes a second to say."""
    try:
        tree = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(tree, dict) and "all" in tree


def _wrong_with(inventory: Path) -> str:
    """Why these cannot be the machines of a cluster; empty if they can."""
    told = inventory_file.read(inventory)
    if told.problem:
        return told.problem
    if not told.groups["control_planes"]:
        return "no machine is in its group control_planes"
    machines = [*told.groups["control_planes"], *told.groups["workers"]]
    nameless = [name for name in machines if not told.variables.get(name, {}).get("node_address")]
    return f"these have no node_address: {', '.join(nameless)}" if nameless else ""
