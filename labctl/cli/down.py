"""labctl down."""

from __future__ import annotations

import shutil

import click

from labctl import paths, state
from labctl.cli.options import lab_option, output_option, print_json
from labctl.providers import engines, node_image
from labctl.providers.container import ContainerProvider


@click.command("down")
@lab_option
@output_option
def command(lab_name: str, output: str) -> None:
    """Remove the lab. Runs, reports and the cache stay.

    Its machines, their disks, its network and its record go, and what unfinished work left.

    \b
    Examples:
      labctl down
      labctl down --lab two
    """
    lab = paths.LabPaths(lab_name)
    with state.lock(lab_name):
        removed = []
        for engine in engines.may_have(lab_name):
            provider = ContainerProvider(lab_name, engine)
            removed += [machine.name for machine in provider.machines()]
            provider.destroy()
            node_image.discard_unfinished(engine)
        shutil.rmtree(paths.ssh_control(lab.folder), ignore_errors=True)
        existed = lab.folder.exists()
        state.forget(lab_name)
    if output == "json":
        print_json({"schema": "labctl.down/v1", "lab": lab_name, "removed": removed})
    elif removed or existed:
        click.echo(f"The lab {lab_name} is gone ({len(removed)} machines). Reports stay in {paths.runs()}.")
    else:
        click.echo(f"There is no lab {lab_name}: nothing to do.")
