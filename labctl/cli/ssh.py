"""labctl ssh."""

from __future__ import annotations

import click

from labctl import process, remote, state
from labctl.cli.options import lab_option


@click.command("ssh", context_settings={"ignore_unknown_options": True})
@lab_option
@click.argument("node")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(lab_name: str, node: str, words: tuple[str, ...]) -> int:
    """Open a shell on a machine, or run a command there.

    \b
    labctl ssh lab-worker-1
    labctl ssh lab-cp-1 -- ctr -n k8s.io containers ls
    """
    state.get(lab_name)
    machine = remote.machine(lab_name, node)
    return process.attach(remote.ssh_words(lab_name, machine) + list(words))
