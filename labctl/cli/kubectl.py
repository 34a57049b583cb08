"""labctl kubectl."""

from __future__ import annotations

from pathlib import Path

import click

from labctl import bundle, paths, process, state
from labctl.cli.options import lab_option
from labctl.errors import StateError, command_for


@click.command("kubectl", context_settings={"ignore_unknown_options": True})
@lab_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(lab_name: str, words: tuple[str, ...]) -> int:
    """Run kubectl, of the lab's own version, against the lab.

    Where the lab's machines are of another kind than this one, it is the kubectl in PATH.

    \b
    Examples:
      labctl kubectl -- get pods -o wide
      labctl kubectl -- port-forward hello-world 8081:80
    """
    record = state.get(lab_name)
    kubeconfig = paths.LabPaths(lab_name).kubeconfig
    if not kubeconfig.exists():
        raise StateError(f"the lab {lab_name} has no kubeconfig yet", f"{command_for(lab_name, 'up')} finishes it")
    program = bundle.kubectl(bundle.open_bundle(Path(record.bundle)))
    return process.attach([program, *words], env={"KUBECONFIG": str(kubeconfig)})
