"""What is verified: the machines of an Ansible inventory, labctl's own or a person's."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl import paths, process, state
from labctl.errors import StateError, UsageError, command_for

_READ_LIMIT_S = 20
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
        return cls(name, inventory, record.config.kubernetes, paths.ssh_control(paths.LabPaths(name).folder))

    @classmethod
    def by_hand(cls, inventory: Path) -> Target:
        """A cluster that the playbooks made. Raises `UsageError` if the inventory is none of such a cluster."""
        wrong = _wrong_with(inventory)
        if wrong:
            raise UsageError(f"--inventory {inventory}: {wrong}", _EXAMPLE)
        return cls(str(inventory), inventory)


def _wrong_with(inventory: Path) -> str:
    """Why these cannot be the machines of a cluster; empty if they can."""
    if not inventory.exists():
        return "there is no such file or folder"
    program = Path(sys.executable).parent / "ansible-inventory"
    words: list[str | Path] = [program, "--inventory", inventory.absolute(), "--list", "--limit", "all"]
    try:
        done = process.run(
            words, check=False, env={"ANSIBLE_CONFIG": str(paths.ansible_config())}, timeout_s=_READ_LIMIT_S
        )
    except process.TimeoutExpired:
        return f"Ansible did not read it within {_READ_LIMIT_S} s"
    if done.code != 0:
        return f"Ansible cannot read it: {_last_line(done.stderr)}"
    return _missing(json.loads(done.stdout))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"


def _members(told: dict[str, Any], group: str) -> list[str]:
    """The machines of a group and of the groups in it."""
    entry = told.get(group, {})
    return [*entry.get("hosts", []), *(name for child in entry.get("children", []) for name in _members(told, child))]


def _missing(told: dict[str, Any]) -> str:
    """What a cluster needs and `told`, which is from ansible-inventory, has not."""
    variables: dict[str, dict[str, Any]] = told["_meta"]["hostvars"]
    if not _members(told, "control_planes"):
        return "no machine is in its group control_planes"
    machines = [*_members(told, "control_planes"), *_members(told, "workers")]
    nameless = [name for name in machines if not variables.get(name, {}).get("node_address")]
    return f"these have no node_address: {', '.join(nameless)}" if nameless else ""
