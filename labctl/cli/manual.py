"""How --help reads: like a manual page, with options and commands under headings. Examples stand in the docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class Command(click.Command):
    """A command whose options stand under headings: heading -> parameter names. What none names is under Options."""

    def __init__(self, *args: Any, headings: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headings = headings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        options = {param.name: param for param in self.get_params(ctx) if isinstance(param, click.Option)}
        named = {name for names in self.headings.values() for name in names}
        rest = [name for name in options if name not in named]
        for heading, names in {**self.headings, "Options": rest}.items():
            records = [options[name].get_help_record(ctx) for name in names]
            with formatter.section(heading):
                formatter.write_dl([record for record in records if record])


def write_commands(
    group: click.Group, ctx: click.Context, formatter: click.HelpFormatter, headings: Mapping[str, Sequence[str]]
) -> None:
    """Write the commands of `group` under headings: heading -> names. What none names is under Commands."""
    names = group.list_commands(ctx)
    named = {name for names in headings.values() for name in names}
    width = max(len(name) for name in names)
    for heading, wanted in {**headings, "Commands": [name for name in names if name not in named]}.items():
        rows = [
            (name, command.get_short_help_str(formatter.width - width - 6))
            for name in wanted
            if (command := group.get_command(ctx, name)) is not None and not command.hidden
        ]
        if rows:
            with formatter.section(heading):
                # The same column under each heading.
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])
