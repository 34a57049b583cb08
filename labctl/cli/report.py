"""labctl report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import ValidationError

from labctl import paths, state
from labctl.cli.options import completing, output_option, print_json
from labctl.errors import EXIT_OK, StateError, UsageError
from labctl.report import compare as comparison
from labctl.report import drill, terminal

_NEEDED = ("plan.json", "history.jsonl")


@click.command("report")
@click.argument("run", required=False, shell_complete=completing(lambda _: [run.name for run in _runs()]))
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to; the run's own by default."
)
@click.option("--compare", nargs=2, metavar="A B", help="Two runs beside each other.")
@output_option
def command(run: str | None, into: Path | None, compare: tuple[str, str] | None, output: str) -> int:
    """Judge a drill's run again, from its files alone.

    RUN is the folder of a run, or its name in $LABCTL_HOME/runs; by default the newest drill. No cluster is needed: a
    run's folder may be copied to another machine.

    \b
    Examples:
      labctl report
      labctl report 20260101T120000.000Z-drill-lab
      labctl report ~/from-a-colleague/run --into /tmp/report
      labctl report --compare 20260101T120000.000Z-drill-lab 20260101T130000.000Z-drill-fast

    Exit code: as of the drill; 0 for a comparison.
    """
    if compare:
        return _compare(_find(compare[0]), _find(compare[1]), into, output)
    folder = _find(run)
    target = into or folder
    target.mkdir(parents=True, exist_ok=True)
    with _readable(folder):
        verdict = drill.write(folder, target)
    if output == "json":
        click.echo(verdict.to_json())
    else:
        terminal.show(verdict, target)
    return verdict.exit_code


def _compare(first: Path, second: Path, into: Path | None, output: str) -> int:
    with _readable(first, second):
        found = comparison.compare(first, second)
    if output == "json":
        print_json(found.model_dump(mode="json", by_alias=True))
        return EXIT_OK
    comparison.show(found)
    target = into or state.new_run("compare", found.second.lab)
    target.mkdir(parents=True, exist_ok=True)
    comparison.write_html(found, target / drill.PAGE)
    click.echo(f"report: {target / drill.PAGE}")
    return EXIT_OK


@contextmanager
def _readable(*folders: Path) -> Iterator[None]:
    try:
        yield
    except (ValidationError, KeyError) as error:
        names = " or ".join(map(str, folders))
        raise StateError(
            f"{names} cannot be read: {_first_line(error)}", "was it written by another labctl?"
        ) from error


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
