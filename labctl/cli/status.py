"""labctl status."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from labctl import status
from labctl.cli.options import lab_option, output_option, print_json

_WHERE = {"hosts": "on", "vagrant": "by"}
_READY = {True: "Ready", False: "NotReady", None: "unknown"}
_LOOK = {"on": "green", "Ready": "green", "off": "red", "gone": "red", "paused": "yellow", "NotReady": "red"}


@click.command("status")
@lab_option
@output_option
def command(lab_name: str, output: str) -> None:
    """Show the machines, their power, and what Kubernetes says.

    \b
    Examples:
      labctl status
      labctl status --output json | jq '.nodes[].ready'
    """
    seen = status.look(lab_name)
    if output == "json":
        print_json(_json(seen))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("NODE", "ROLE", "ADDRESS", "POWER", "KUBERNETES SAYS"):
        table.add_column(title)
    for node in seen.nodes:
        word = _READY[node.ready]
        table.add_row(
            *(node.name, node.role, node.address),
            *(f"[{_LOOK.get(text, 'yellow')}]{text}[/]" for text in (node.power, word)),
        )
    console = Console()
    where = f"{_WHERE.get(seen.provider, 'in')} {seen.provider}"
    console.print(f"lab {seen.lab} {where}, Kubernetes {seen.kubernetes}, timing {seen.timing}\n", highlight=False)
    console.print(table)
    if seen.drill:
        console.print(f"\n[yellow]a drill is running now:[/] {seen.drill}; it undoes itself", highlight=False)
    for sentence in seen.broken:
        console.print(f"\n[yellow]broken:[/] {sentence}", highlight=False)


def _json(seen: status.LabStatus) -> dict[str, Any]:
    return {
        "schema": "labctl.status/v1",
        "lab": seen.lab,
        "provider": seen.provider,
        "kubernetes": seen.kubernetes,
        "nodes": [
            {"name": n.name, "role": n.role, "address": n.address, "power": n.power, "ready": n.ready}
            for n in seen.nodes
        ],
        "broken": seen.broken,
        "drill": seen.drill,
    }
