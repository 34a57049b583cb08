"""A person's Ansible inventory, read by Ansible itself: which machines are in it, and how they are reached."""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labctl import paths, process
from labctl.config import LabConfig
from labctl.errors import UsageError

_READ_LIMIT_S = 20
_EXAMPLE = "inventories/README.md says what an inventory must have"
_SSH = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_ENVIRONMENT = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
_FAILURE = re.compile(r"Failed to parse inventory with '(\w+)' plugin: (.+)")
_NAME = re.compile(r"[\w.:-]+")
"""A machine's name or address; Ansible itself takes any first word of a line for one."""
_READ = {
    "address": ("ansible_host", "ansible_ssh_host"),
    "user": ("ansible_user", "ansible_ssh_user"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
    "become": ("ansible_become",),
    "node_address": ("node_address",),
    "node_second_address": ("node_second_address",),
    "pod_subnet": ("node_pod_subnet",),
}
"""What `Host` calls it, and what Ansible and the playbooks do."""


@dataclass(frozen=True)
class Told:
    """What ansible-inventory said: members of each group, variables of each machine; `problem` if it said neither."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    problem: str = ""


def read(inventory: Path) -> Told:
    """What is in `inventory`, a file or folder."""
    if not inventory.exists():
        return Told(problem="there is no such file or folder")
    program = Path(sys.executable).parent / "ansible-inventory"
    words: list[str | Path] = [program, "--inventory", inventory.absolute(), "--list", "--limit", "all"]
    try:
        done = process.run(
            words,
            check=False,
            env=_ENVIRONMENT | {"ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": process.utf8()},
            timeout_s=_READ_LIMIT_S,
        )
    except process.TimeoutExpired:
        return Told(problem=f"Ansible did not read it within {_READ_LIMIT_S} s")
    if done.code != 0:
        return Told(problem=f"Ansible cannot read it: {_reason(done.stderr, inventory)}")
    told = json.loads(done.stdout)
    odd = [name for name in _members(told, "all") if not _NAME.fullmatch(name)]
    if odd:
        return Told(problem=f"Ansible cannot read it but as a list of names, of which {odd[0]!r} is none")
    groups = {name: _members(told, name) for name in ("control_planes", "workers")}
    return Told(groups, told["_meta"]["hostvars"])


def resolve(config: LabConfig) -> tuple[LabConfig, dict[str, dict[str, Any]]]:
    """`config` with the hosts of its inventory, and what else the inventory says of each, by name.

    Raises `UsageError` if it cannot be read, or is none of a cluster.
    """
    if config.inventory is None:
        return config, {}
    told = read(Path(config.inventory))
    if told.problem:
        raise UsageError(f"inventory: {config.inventory}: {told.problem}", _EXAMPLE)
    hosts: dict[str, dict[str, Any]] = {}
    for group, role in (("control_planes", "control-plane"), ("workers", "worker")):
        for name in told.groups[group]:
            if name in hosts:
                raise UsageError(f"inventory: {name} is in both control_planes and workers", _EXAMPLE)
            hosts[name] = _host(name, role, told.variables.get(name, {}), config.inventory)
    if not told.groups["control_planes"]:
        raise UsageError(f"inventory: no machine is in the group control_planes of {config.inventory}", _EXAMPLE)
    # Without what was counted before the inventory was read.
    data = config.model_dump(mode="json", exclude={"control_planes", "workers"})
    try:
        found = LabConfig.model_validate({**data, "hosts": hosts})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"inventory: {config.inventory}: {place}{': ' if place else ''}{said}", _EXAMPLE) from error
    return found, {name: _rest(told.variables.get(name, {})) for name in hosts}


def _host(name: str, role: str, variables: dict[str, Any], inventory: str) -> dict[str, Any]:
    if variables.get("ansible_connection", "ssh") not in ("ssh", "smart", "ansible.builtin.ssh"):
        raise UsageError(f"inventory: {name} has the connection {variables['ansible_connection']}; labctl uses ssh")
    host: dict[str, Any] = {"address": name, "role": role}
    for key, names in _READ.items():
        value = next((variables[known] for known in names if known in variables), None)
        if isinstance(value, dict) or "{{" in str(value):
            raise UsageError(
                f"inventory: {names[0]} of {name} is a template or encrypted, and labctl itself must know it",
                f"write it out in {inventory}",
            )
        if value is not None:
            host[key] = value
    if "key" in host:
        host["key"] = str(Path(host["key"]).expanduser().absolute())
    if "," in str(host.get("pod_subnet", "")):
        host["pod_subnet"], host["second_pod_subnet"] = str(host["pod_subnet"]).split(",", 1)
    host["options"] = [word for known in _SSH for word in shlex.split(str(variables.get(known, "")))]
    return host


def _rest(variables: dict[str, Any]) -> dict[str, Any]:
    """What labctl has no word for of its own: it goes on to the playbooks."""
    own = {name for names in _READ.values() for name in names} | {*_SSH, "ansible_connection"}
    return {name: value for name, value in variables.items() if name not in own}


def _reason(said: str, inventory: Path) -> str:
    """Why Ansible read nothing: of each format that it tries it says why not; the last one is for what is no YAML."""
    failures = {str(plugin): str(reason) for plugin, reason in _FAILURE.findall(said)}
    if inventory.suffix in (".yml", ".yaml") and "yaml" in failures:
        return failures["yaml"]
    reasons = list(failures.values()) or [line.strip() for line in said.splitlines() if line.strip()]
    return reasons[-1] if reasons else "no reason was given"


def _members(told: dict[str, Any], group: str) -> list[str]:
    """The machines of a group and of the groups in it."""
    entry = told.get(group, {})
    return [*entry.get("hosts", []), *(name for child in entry.get("children", []) for name in _members(told, child))]
