"""labctl config."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from labctl import config
from labctl.cli.options import config_option, print_json


@click.group("config")
def command() -> None:
    """Look at the configuration.

    \b
    Examples:
      labctl config schema > labctl.schema.json
      labctl config show
    """


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of labctl.yml.

    \b
    Examples:
      labctl config schema > labctl.schema.json
    """
    print_json(config.schema())


@command.command("show")
@config_option
def show(config_file: Path | None) -> None:
    """Print the configuration in force: labctl.yml over the defaults.

    \b
    Examples:
      labctl config show
      labctl config show --config other.yml
    """
    click.echo(yaml.safe_dump(config.load(config_file, {}).model_dump(mode="json"), sort_keys=False), nl=False)
