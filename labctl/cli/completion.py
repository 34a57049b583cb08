"""labctl completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the script that completes labctl in your shell.

    It completes commands, options and their values, labs, machines and drills.
    The first three examples are for good, the last one is for the shell at hand.

    \b
    Examples:
      labctl completion bash > /etc/bash_completion.d/labctl
      labctl completion zsh > "${fpath[1]}/_labctl"
      labctl completion fish > ~/.config/fish/completions/labctl.fish
      eval "$(labctl completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:  # click has all three
        raise click.UsageError(f"click cannot complete in {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "labctl", "_LABCTL_COMPLETE").source())
