"""Options that several commands share, and how a result reaches stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from labctl import config, paths

output_option = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", help="json: one object on stdout."
)

config_option = click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file; labctl.yml in this directory is found by itself.",
)


def completing(offer: Callable[[click.Context], list[str]]) -> Callable[[click.Context, Any, str], list[str]]:
    """For `shell_complete`: those of the words that `offer` gives which begin as typed."""
    return lambda context, _, typed: [word for word in offer(context) if word.startswith(typed)]


def lab_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--lab NAME; without it the name in labctl.yml, or `lab`."""
    return click.option(
        "--lab",
        "lab_name",
        callback=_lab_name,
        shell_complete=completing(lambda _: paths.lab_names()),
        help="Name of the lab; by default the one in labctl.yml, or lab.",
    )(command)


def _lab_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    return config.load(None, {"name": value}).name


def print_json(result: dict[str, Any]) -> None:
    """The command's result, alone on stdout."""
    click.echo(json.dumps(result, indent=2, default=str))
