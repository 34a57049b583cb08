"""labctl ssh."""

from __future__ import annotations

from contextlib import suppress

import click

from labctl import paths, process, remote, state
from labctl.cli.options import completing, lab_option
from labctl.errors import LabError


def _machines(context: click.Context) -> list[str]:
    lab = context.params.get("lab_name") or "lab"
    with suppress(LabError):
        record = state.find(lab)
        if record and record.config.hosts:
            return record.config.machine_names
    return paths.LabPaths(lab).machine_names()


@click.command("ssh", context_settings={"ignore_unknown_options": True})
@lab_option
@click.argument("node", shell_complete=completing(_machines))
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(lab_name: str, node: str, words: tuple[str, ...]) -> int:
    """Open a shell on a machine, or run a command there.

    \b
    Examples:
      labctl ssh lab-worker-1
      labctl ssh lab-cp-1 -- ctr -n k8s.io containers ls
    """
    state.get(lab_name)
    machine = remote.machine(lab_name, node)
    return process.attach(remote.ssh_words(lab_name, machine) + list(words))
