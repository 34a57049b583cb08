"""labctl bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from labctl import bundle, config, paths, state, ui
from labctl.bundle import Bundle
from labctl.cli.options import config_option, output_option
from labctl.config import LabConfig
from labctl.config_bundle import BundleSource
from labctl.errors import PrerequisiteError

_MIB = 1024**2

_arch_option = click.option(
    "--arch",
    type=click.Choice(bundle.ARCHES),
    callback=lambda _context, _parameter, value: value or "",
    help="Architecture of the machines (default: this one's).",
)
_file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _which(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which bundle is meant."""
    kubernetes = click.option("--kubernetes", "version", help=f"Version (default: {config.DEFAULT_KUBERNETES}).")
    return config_option(kubernetes(_arch_option(function)))


@click.group("bundle")
def command() -> None:
    """The programs and images that machines are installed from.

    \b
    labctl bundle download              from upstream, or from the mirrors in labctl.yml
    labctl bundle build                 from source
    labctl bundle export lab.tar.zst    for a machine without a network,
    labctl bundle import lab.tar.zst    and there
    """


@command.command("download")
@_which
def download(config_file: Path | None, version: str | None, arch: str) -> None:
    """Download the bundle, or what is missing or damaged of it. Goes on where it was."""
    _make(config.load(config_file, {"kubernetes": version}), "download", arch)


@command.command("build")
@_which
def build(config_file: Path | None, version: str | None, arch: str) -> None:
    """Build the bundle from source, or what is missing or damaged of it. A quarter of an hour on two cores."""
    _make(config.load(config_file, {"kubernetes": version}), "build", arch)


@command.command("export")
@_which
@_file_argument
def export(config_file: Path | None, version: str | None, arch: str, file: Path) -> None:
    """Write the bundle to FILE (.tar.zst)."""
    found = _find(config.load(config_file, {"kubernetes": version}), arch)
    with ui.showing(None) as emit:
        bundle.pack(found, file, emit)
    click.echo(file.absolute())


@command.command("import")
@_file_argument
def import_(file: Path) -> None:
    """Bring the bundle in FILE into the cache; every checksum is compared."""
    with ui.showing(None) as emit:
        made = bundle.import_file(file, emit)
    click.echo(made.path)


@command.command("prune")
def prune() -> None:
    """Remove bundles and builds that no lab uses and this labctl would not make again, and all downloads."""
    records = [state.get(name) for name in paths.lab_names()]
    with ui.showing(None) as emit:
        done = bundle.prune_cache([Path(record.bundle) for record in records], emit)
    for folder in done.removed:
        click.echo(folder)
    click.echo(f"{len(done.removed)} folders removed, {done.freed / _MIB:.0f} MiB freed")


@command.command("show")
@_which
@click.option("--path", "only_path", is_flag=True, help="Print only where it is.")
@output_option
def show(config_file: Path | None, version: str | None, arch: str, only_path: bool, output: str) -> None:  # noqa: FBT001
    """Show what is in the bundle."""
    found = _find(config.load(config_file, {"kubernetes": version}), arch)
    if only_path:
        click.echo(found.path)
    elif output == "json":
        click.echo(found.manifest.text(), nl=False)
    else:
        _tell(found)


@command.command("verify")
@_which
def verify(config_file: Path | None, version: str | None, arch: str) -> int:
    """Compare every file of the bundle with its checksum."""
    found = _find(config.load(config_file, {"kubernetes": version}), arch)
    problems = found.verify()
    for problem in problems:
        click.echo(problem, err=True)
    click.echo(f"{found.path}: {f'{len(problems)} problems' if problems else 'every checksum is right'}")
    if problems:
        manifest = found.manifest
        click.echo(
            f"  → labctl bundle {manifest.source} --kubernetes {manifest.kubernetes} --arch {manifest.arch} mends it",
            err=True,
        )
    return PrerequisiteError.exit_code if problems else 0


def _make(wanted: LabConfig, source: str, arch: str) -> None:
    chosen = BundleSource.model_validate({**wanted.bundle.model_dump(), "source": source, "file": None})
    with ui.showing(state.new_run("bundle", wanted.kubernetes)) as emit:
        made = bundle.ensure_whole(wanted.kubernetes, emit, chosen, arch)
    click.echo(made.path)


def _find(wanted: LabConfig, arch: str) -> Bundle:
    found = bundle.find(wanted.kubernetes, wanted.bundle, arch)
    if found is None:
        raise PrerequisiteError(
            f"there is no bundle of Kubernetes {wanted.kubernetes} in the cache",
            "labctl bundle download gets one, labctl bundle build makes one",
        )
    return found


def _tell(found: Bundle) -> None:
    manifest = found.manifest
    click.echo(f"{found.path}\nKubernetes {manifest.kubernetes}, {manifest.arch}, source: {manifest.source}\n")
    for program in manifest.programs:
        size = f"{program.size / _MIB:7.1f} MiB"
        click.echo(f"  {program.name:<26} {program.version:<12} {size}  {program.licence}  {program.checked}")
    for image in manifest.images:
        click.echo(f"  {image.ref:<50} {image.size / _MIB:7.1f} MiB  {image.checked}")
