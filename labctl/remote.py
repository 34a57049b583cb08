"""SSH to a lab's machines, by the way that their provider knows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from labctl import marker, process
from labctl.errors import UsageError, command_for
from labctl.providers.base import Machine
from labctl.providers.choose import provider_of, way_to

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""sudo may not look where labctl's programs are, as Red Hat's does not (secure_path, sudoers(5))."""


def machine(lab: str, name: str) -> Machine:
    """The machine `name`; its name without the lab's is enough. Raises `UsageError`."""
    known = {item.name: item for item in provider_of(lab).machines()}
    found = known.get(name) or known.get(f"{lab}-{name}")
    if found is None:
        there = ", ".join(known) or "none"
        raise UsageError(f"{name} is no machine of the lab {lab}; there are: {there}", command_for(lab, "status"))
    if found.power != "on":
        hint = f"{command_for(lab, 'start')}, or {command_for(lab, 'recover')}, switches it on"
        raise UsageError(f"{found.name} is {found.power}", hint)
    return found


def ssh_words(lab: str, target: Machine) -> list[str]:
    """The ssh command up to where the remote command begins, as a person at a terminal wants it."""
    return list(way_to(lab, target).words)


def argv_on(lab: str, target: Machine, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` on the machine as root, without asking anybody."""
    way = way_to(lab, target)
    sudo = [] if way.is_root else ["sudo", "-n", "--", "env", _PATH]
    return ["ssh", "-o", "BatchMode=yes", *way.words[1:], shlex.join([*sudo, *argv])]


def run_on(lab: str, target: Machine, argv: Sequence[str]) -> str:
    """What the command prints on the machine, as root. Raises `CommandError`."""
    *words, command = argv_on(lab, target, argv)
    begins = marker.new()
    return marker.after(begins, process.run([*words, f"echo {begins}; {command}"]).stdout)
