"""labctl kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path

import click

from labctl import kubeconfig, paths, state
from labctl.cli.options import lab_option
from labctl.errors import StateError, command_for


@click.command("kubeconfig")
@lab_option
@click.option(
    "--merge", is_flag=True, help="Put it into your own kubeconfig (KUBECONFIG or ~/.kube/config) and select it."
)
@click.option("--path", "only_path", is_flag=True, help="Print where the file is.")
def command(lab_name: str, merge: bool, only_path: bool) -> None:  # noqa: FBT001
    """Print the lab's kubeconfig, or merge it into your own.

    \b
    Examples:
      labctl kubeconfig --merge && kubectl get nodes
      export KUBECONFIG=$(labctl kubeconfig --path)
    """
    state.get(lab_name)
    source = paths.LabPaths(lab_name).kubeconfig
    if not source.exists():
        raise StateError(f"the lab {lab_name} has no kubeconfig yet", f"{command_for(lab_name, 'up')} finishes it")
    if only_path:
        click.echo(source)
    elif merge:
        first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        target = Path(first) if first else Path.home() / ".kube" / "config"
        context = kubeconfig.merge(source, target, lab_name)
        click.echo(f"{target} has the context {context} now, and it is selected.", err=True)
    else:
        click.echo(source.read_text(encoding="utf-8"), nl=False)
