"""labctl image."""

from __future__ import annotations

import click

from labctl import images, remote, state, ui
from labctl.cli.options import lab_option, output_option, print_json
from labctl.errors import UsageError, command_for
from labctl.providers.choose import provider_of


@click.group("image")
def command() -> None:
    """Images of your own in the lab's machines.

    \b
    Examples:
      labctl image load localhost/app:1
      labctl image load ./app.tar
    """


@command.command("load")
@click.argument("wanted", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--node", "nodes", multiple=True, help="Only into this machine; may be given more than once.")
@lab_option
@output_option
def load(wanted: tuple[str, ...], nodes: tuple[str, ...], lab_name: str, output: str) -> None:
    """Load images into all machines.

    They are of podman or docker on this host by name, or archives by path. Pods call an image by the name that is
    printed, and must not pull it: any tag but latest, or imagePullPolicy IfNotPresent.

    \b
    Examples:
      labctl image load localhost/app:1
      labctl image load ./app.tar --node worker-1
    """
    with state.lock(lab_name):
        state.get(lab_name)
        machines = [remote.machine(lab_name, node) for node in nodes] or provider_of(lab_name).machines()
        off = [machine.name for machine in machines if machine.power != "on"]
        if off:
            raise UsageError(f"{', '.join(off)} cannot take images: not on", command_for(lab_name, "start"))
        with ui.showing(state.new_run("image", lab_name)) as emit:
            done = images.load(lab_name, wanted, machines, emit)
    if output == "json":
        loaded = [{"source": item.source, "names": item.names, "machines": item.machines} for item in done]
        print_json({"schema": "labctl.image/v1", "lab": lab_name, "loaded": loaded})
        return
    for item in done:
        where = f"loaded into {', '.join(item.machines)}" if item.machines else "was there already"
        click.echo(f"{', '.join(item.names)}: {where}")
