"""labctl report."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from labctl import paths
from labctl.cli.options import completing, output_option
from labctl.errors import StateError, UsageError
from labctl.report import drill, terminal

_NEEDED = ("plan.json", "history.jsonl")


@click.command("report")
@click.argument("run", required=False, shell_complete=completing(lambda _: [run.name for run in _runs()]))
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to; the run's own by default."
)
@output_option
def command(run: str | None, into: Path | None, output: str) -> int:
    """Judge a drill's run again, from its files alone.

    RUN is the folder of a run, or its name in $LABCTL_HOME/runs; by default the newest drill. No cluster is needed: a
    run's folder may be copied to another machine.

    \b
    Examples:
      labctl report
      labctl report 20260101T120000.000Z-drill-lab
      labctl report ~/from-a-colleague/run --into /tmp/report

    Exit code: as of the drill.
    """
    folder = _find(run)
    target = into or folder
    target.mkdir(parents=True, exist_ok=True)
    try:
        verdict = drill.write(folder, target)
    except (ValidationError, KeyError) as error:
        raise StateError(
            f"{folder} cannot be read: {_first_line(error)}", "was it written by another labctl?"
        ) from error
    if output == "json":
        click.echo(verdict.to_json())
    else:
        terminal.show(verdict, target)
    return verdict.exit_code


def _runs() -> list[Path]:
    """Runs of drills that can be judged, the newest last."""
    found = paths.runs().glob("*-drill-*") if paths.runs().is_dir() else []
    return sorted(run for run in found if _is_run(run))


def _find(run: str | None) -> Path:
    if run is None:
        if not _runs():
            raise UsageError(f"no drill was run yet: {paths.runs()} has none", "labctl drill --list")
        return _runs()[-1]
    for folder in (Path(run), paths.runs() / run):
        if _is_run(folder):
            return folder
    raise UsageError(
        f"{run} is no run of a drill: there is no folder with {' and '.join(_NEEDED)}", "labctl report --help"
    )


def _is_run(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _NEEDED)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]
