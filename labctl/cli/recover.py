"""labctl recover."""

from __future__ import annotations

import click

from labctl import drill, drills, state, ui
from labctl.cli.options import lab_option, output_option, print_json
from labctl.errors import EXIT_DRILL_FAILED, EXIT_OK


@click.command("recover")
@lab_option
@output_option
def command(lab_name: str, output: str) -> int:
    """Bring a lab back that a drill left broken. Safe to run at any time: on a healthy lab nothing happens.

    Looks at the machines and the cluster first, at the journal second. Exit code 1 if something is left over.

    \b
    Examples:
      labctl recover
    """
    with state.lock(lab_name):
        lab = drills.lab_of(lab_name)
        with ui.showing(state.new_run("recover", lab_name)) as emit:
            done = drill.recover(lab, emit)
    if output == "json":
        print_json(
            {
                "schema": "labctl.recover/v1",
                "lab": lab_name,
                "switched_on": done.switched_on,
                "undone": done.undone,
                "restored": done.restored,
                "leftovers": done.leftovers,
            }
        )
    else:
        for verb, names in (("switched on", done.switched_on), ("undone", done.undone), ("put back", done.restored)):
            if names:
                click.echo(f"{verb}: {', '.join(names)}")
        for leftover in done.leftovers:
            click.echo(f"left over: {leftover}")
        click.echo(f"The lab {lab_name} is {'not whole' if done.leftovers else 'whole'}.")
    return EXIT_DRILL_FAILED if done.leftovers else EXIT_OK
