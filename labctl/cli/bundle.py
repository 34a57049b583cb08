"""labctl bundle."""

from __future__ import annotations

import click

from labctl import bundle, config, state, ui
from labctl.bundle import Bundle
from labctl.cli.options import output_option
from labctl.errors import PrerequisiteError

_MIB = 1024**2

version_option = click.option(
    "--kubernetes", "version", default=config.DEFAULT_KUBERNETES, show_default=True, help="Version of Kubernetes."
)


@click.group("bundle")
def command() -> None:
    """The programs and images that machines are installed from.

    \b
    Examples:
      labctl bundle build
      labctl bundle show
      labctl bundle verify
    """


@command.command("build")
@version_option
def build(version: str) -> None:
    """Build the bundle from source, or say that it is there.

    About a quarter of an hour on two cores.

    \b
    Examples:
      labctl bundle build
    """
    with ui.showing(state.new_run("bundle", version)) as emit:
        made = bundle.ensure(version, emit)
    click.echo(made.path)


@command.command("show")
@version_option
@click.option("--path", "only_path", is_flag=True, help="Print only where it is.")
@output_option
def show(version: str, only_path: bool, output: str) -> None:  # noqa: FBT001
    """Show what is in the bundle.

    \b
    Examples:
      labctl bundle show
      ansible-playbook -i inventory playbooks/up.yml -e lab_bundle="$(labctl bundle show --path)"
    """
    found = _find(version)
    if only_path:
        click.echo(found.path)
    elif output == "json":
        click.echo(found.manifest.text(), nl=False)
    else:
        _tell(found)


@command.command("verify")
@version_option
def verify(version: str) -> int:
    """Compare every file of the bundle with its checksum.

    Exit code 4: some differ.

    \b
    Examples:
      labctl bundle verify
    """
    found = _find(version)
    problems = found.verify()
    for problem in problems:
        click.echo(problem, err=True)
    click.echo(f"{found.path}: {f'{len(problems)} problems' if problems else 'every checksum is right'}")
    if problems:
        click.echo(f"  → rm -r {found.path}, then labctl bundle build", err=True)
    return PrerequisiteError.exit_code if problems else 0


def _find(version: str) -> Bundle:
    found = bundle.find(version)
    if found is None:
        raise PrerequisiteError(
            f"there is no bundle of Kubernetes {version} in the cache", "labctl bundle build makes it"
        )
    return found


def _tell(found: Bundle) -> None:
    manifest = found.manifest
    click.echo(f"{found.path}\nKubernetes {manifest.kubernetes}, {manifest.arch}, source: {manifest.source}\n")
    for program in manifest.programs:
        click.echo(f"  {program.name:<26} {program.version:<12} {program.size / _MIB:7.1f} MiB  {program.licence}")
    for image in manifest.images:
        click.echo(f"  {image.ref:<50} {image.size / _MIB:7.1f} MiB")
