"""labctl logs."""

from __future__ import annotations

from pathlib import Path

import click

from labctl import logs, state
from labctl.cli.options import lab_option, output_option, print_json


@click.command("logs")
@lab_option
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to; a new one by default."
)
@output_option
def command(lab_name: str, into: Path | None, output: str) -> None:
    """Collect what a bug report needs into one .tar.gz.

    Journals, states of containers, events and runs; no keys.

    \b
    Examples:
      labctl logs
      labctl logs --into /tmp
    """
    state.get(lab_name)
    archive = logs.collect(lab_name, into or Path.cwd())
    if output == "json":
        print_json({"schema": "labctl.logs/v1", "lab": lab_name, "archive": str(archive)})
    else:
        click.echo(f"{archive}\nIt holds no keys, but names, addresses and log lines: look before you share it.")
