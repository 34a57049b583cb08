"""labctl down."""

from __future__ import annotations

import click

from labctl import consent, paths, state, teardown, ui
from labctl.cli.options import lab_option, output_option, print_json
from labctl.errors import UsageError


@click.command("down")
@lab_option
@click.option("--keep-machines", is_flag=True, help="Hosts: only forget the lab, and leave them as they are.")
@output_option
def command(lab_name: str, output: str, *, keep_machines: bool) -> None:
    """Remove the lab. Runs, reports and the cache stay.

    Its machines, their disks, its network and its record go, and what unfinished work left. Machines that were there
    before (provider: hosts) are given back as they were found, if labctl.yml consents to it.

    \b
    Examples:
      labctl down
      labctl down --lab two
    """
    with state.lock(lab_name):
        if teardown.is_of_hosts(lab_name):
            removed = [] if keep_machines else _reset(lab_name)
            what = f"{len(removed)} machines are as they were before"
        elif keep_machines:
            raise UsageError(f"the machines of the lab {lab_name} are labctl's own: without it nobody needs them")
        else:
            removed = teardown.remove_machines(lab_name)
            what = f"{len(removed)} machines"
        existed = teardown.forget(lab_name)
    if output == "json":
        print_json({"schema": "labctl.down/v1", "lab": lab_name, "removed": removed})
    elif removed or existed:
        click.echo(f"The lab {lab_name} is gone ({what}). Reports stay in {paths.runs()}.")
    else:
        click.echo(f"There is no lab {lab_name}: nothing to do.")


def _reset(lab_name: str) -> list[str]:
    consent.require(lab_name, "reset")
    run_dir = state.new_run("down", lab_name)
    with ui.showing(run_dir) as emit:
        return teardown.reset_hosts(lab_name, run_dir, emit)
