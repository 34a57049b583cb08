"""labctl stop."""

from __future__ import annotations

import click

from labctl import lifecycle, state, ui
from labctl.cli.options import lab_option, output_option, print_json
from labctl.errors import command_for


@click.command("stop")
@lab_option
@output_option
def command(lab_name: str, output: str) -> None:
    """Shut the lab's machines down, workers first.

    Disks and addresses stay; labctl start brings it back.

    \b
    Examples:
      labctl stop
      labctl stop --lab two
    """
    with state.lock(lab_name):
        state.get(lab_name)
        with ui.showing(state.new_run("stop", lab_name)) as emit:
            stopped = lifecycle.stop(lab_name, emit)
    if output == "json":
        print_json({"schema": "labctl.stop/v1", "lab": lab_name, "stopped": stopped})
    elif stopped:
        starts = command_for(lab_name, "start")
        click.echo(f"The lab {lab_name} is stopped ({len(stopped)} machines). {starts} brings it back.")
    else:
        click.echo(f"The lab {lab_name} was off already.")
