"""SSH to a lab's machines, with the lab's key and its pinned host keys."""

from __future__ import annotations

import shlex

from labctl import paths, process
from labctl.errors import UsageError, command_for
from labctl.providers.base import Machine
from labctl.providers.container import ContainerProvider


def machine(lab: str, name: str) -> Machine:
    """The machine `name`; its name without the lab's is enough. Raises `UsageError`."""
    known = {item.name: item for item in ContainerProvider(lab).machines()}
    found = known.get(name) or known.get(f"{lab}-{name}")
    if found is None:
        there = ", ".join(known) or "none"
        raise UsageError(f"{name} is no machine of the lab {lab}; there are: {there}", command_for(lab, "status"))
    if found.power != "on":
        hint = f"{command_for(lab, 'start')}, or {command_for(lab, 'recover')}, switches it on"
        raise UsageError(f"{found.name} is {found.power}", hint)
    return found


def ssh_words(lab: str, target: Machine) -> list[str]:
    """The ssh command up to where the remote command begins; the user's own settings are not for these machines."""
    files = paths.LabPaths(lab)
    options = {
        "UserKnownHostsFile": files.known_hosts,
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "5",
    }
    words = ["ssh", "-F", "none", "-i", str(files.ssh_key)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return [*words, f"root@{target.address}"]


def run_on(lab: str, target: Machine, argv: list[str]) -> str:
    """What the command prints on the machine. Raises `CommandError`."""
    return process.run([*ssh_words(lab, target), shlex.join(argv)]).stdout
