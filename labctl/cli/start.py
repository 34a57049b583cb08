"""labctl start."""

from __future__ import annotations

import click

from labctl import lifecycle, state, ui
from labctl.cli.options import lab_option, output_option, print_json


@click.command("start")
@lab_option
@output_option
def command(lab_name: str, output: str) -> None:
    """Switch on what is off, and wait until the nodes are Ready. Nothing is made or changed: labctl up does that.

    \b
    labctl start
    labctl start --lab two
    """
    with state.lock(lab_name):
        state.get(lab_name)
        with ui.showing(state.new_run("start", lab_name)) as emit:
            started = lifecycle.start(lab_name, emit)
    if output == "json":
        print_json({"schema": "labctl.start/v1", "lab": lab_name, "started": started})
    else:
        what = f"{len(started)} machines started" if started else "they were on"
        click.echo(f"The lab {lab_name} is up: all nodes are Ready ({what}).")
