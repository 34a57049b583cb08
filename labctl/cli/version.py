"""labctl version."""

from __future__ import annotations

import platform
from importlib.metadata import version

import click

from labctl import paths
from labctl.cli.options import output_option, print_json
from labctl.config import DEFAULT_KUBERNETES

_PARTS = ("labctl", "ansible-core", "ansible-runner", "kubernetes", "pytest-testinfra")


@click.command("version")
@output_option
def command(output: str) -> None:
    """Print the versions of labctl and of what it stands on.

    And where its playbooks are, for those who call ansible-playbook themselves.

    \b
    Examples:
      labctl version
      labctl version --output json
    """
    versions = {part: version(part) for part in _PARTS} | {
        "python": platform.python_version(),
        "default_kubernetes": DEFAULT_KUBERNETES,
        "playbooks": str(paths.playbooks()),
    }
    if output == "json":
        print_json({"schema": "labctl.version/v1", **versions})
    else:
        for name, value in versions.items():
            click.echo(f"{name:<20} {value}")
