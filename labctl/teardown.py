"""`labctl down`: machines that were made for the lab are removed; those that were there before are given back."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from labctl import ansible, paths, state
from labctl.errors import PlaybookError, StateError, command_for
from labctl.events import Emit
from labctl.providers import engines, node_image
from labctl.providers.container import ContainerProvider
from labctl.providers.vagrant import VagrantProvider


def is_of_hosts(lab: str) -> bool:
    """Whether the lab's machines were there before it."""
    return _provider_of(lab) == "hosts"


def remove_machines(lab: str) -> list[str]:
    """Remove the machines that were made for the lab, and their network. Returns their names."""
    return _remove_virtual_machines(lab) if _provider_of(lab) == "vagrant" else remove_containers(lab)


def _provider_of(lab: str) -> str:
    """By the lab's record; if that cannot be read, machines are looked for in engines."""
    with suppress(StateError):
        if record := state.find(lab):
            return record.config.provider
    return ""


def _remove_virtual_machines(lab: str) -> list[str]:
    provider = VagrantProvider(state.get(lab).config)
    removed = [machine.name for machine in provider.machines()]
    provider.destroy()
    return removed


def remove_containers(lab: str) -> list[str]:
    """Remove the lab's containers, their network, and what killed bakes left. Returns the machines' names."""
    removed = []
    for engine in engines.may_have(lab):
        provider = ContainerProvider(lab, engine)
        removed += [machine.name for machine in provider.machines()]
        provider.destroy()
        node_image.discard_unfinished(engine)
    return removed


def reset_hosts(lab: str, run_dir: Path, emit: Emit) -> list[str]:
    """Take away what labctl did to the lab's machines. Returns their names. Raises `PlaybookError`."""
    files = paths.LabPaths(lab)
    names = state.get(lab).config.machine_names
    if not files.inventory.exists():  # nothing was begun
        return []
    try:
        ansible.play(
            "reset.yml", files.inventory, run_dir, emit, hosts=set(names), control=paths.ssh_control(files.folder)
        )
    except PlaybookError as error:
        forget = command_for(lab, "down", "--keep-machines")
        error.hint = (
            f"{error.hint}; mend it and run the same command again, or {forget} leaves the machines as they are"
        )
        raise
    return names


def forget(lab: str) -> bool:
    """Remove labctl's own files of the lab. Returns whether there were any."""
    files = paths.LabPaths(lab)
    shutil.rmtree(paths.ssh_control(files.folder), ignore_errors=True)
    existed = files.folder.exists()
    state.forget(lab)
    return existed
