"""labctl inventory."""

from __future__ import annotations

import click

from labctl import paths, state
from labctl.cli.options import lab_option
from labctl.errors import StateError, command_for


@click.command("inventory")
@lab_option
@click.option("--path", "only_path", is_flag=True, help="Print where the file is.")
def command(lab_name: str, *, only_path: bool) -> None:
    """Print the Ansible inventory that the lab was made with.

    \b
    Examples:
      labctl inventory
      ansible-playbook -i "$(labctl inventory --path)" playbooks/up.yml
    """
    state.get(lab_name)
    file = paths.LabPaths(lab_name).inventory
    if not file.exists():
        raise StateError(f"the lab {lab_name} has no inventory yet", f"{command_for(lab_name, 'up')} finishes it")
    click.echo(file if only_path else file.read_text(encoding="utf-8"), nl=only_path)
