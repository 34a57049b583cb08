"""labctl verify."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from labctl import state, ui
from labctl.cli.options import lab_option, output_option, print_json
from labctl.errors import EXIT_CHECKS_FAILED, EXIT_OK, UsageError
from labctl.events import Emit, Progress
from labctl.report import verify as report
from labctl.verify import run
from labctl.verify.model import Report, Result
from labctl.verify.target import Target

_TOLD_EVERY = 50


@click.command("verify")
@lab_option
@click.option("--list", "only_list", is_flag=True, help="List the checks.")
@click.option("--only", multiple=True, metavar="ID", help="Only this check; again for more. CIS-1.* works.")
@click.option("--skip", multiple=True, metavar="ID=REASON", help="Not this check; the reason is kept in the report.")
@click.option("--deep", is_flag=True, help="Also what takes longer or puts load on the lab.")
@click.option(
    "--inventory",
    type=click.Path(),
    help="A cluster that the playbooks made by hand: its Ansible inventory.",
)
@output_option
def command(lab_name: str, only_list: bool, output: str, inventory: str | None, **chosen: Any) -> int:  # noqa: FBT001
    """Check whether the lab is what it claims to be.

    It looks at each node and at the cluster as a whole.

    \b
    Examples:
      labctl verify
      labctl verify --deep
      labctl verify --list
      labctl verify --only CIS-1.* --only NODE-014
      labctl verify --skip NODE-021=other-team
      labctl verify --inventory inventories/three-hosts

    Exit code 0: all is as it should be, 1: a check failed.
    """
    choice = run.Choice(chosen["only"], tuple(map(_skipped, chosen["skip"])), chosen["deep"])
    if only_list:
        return _list(choice, output)
    if inventory == "":
        raise UsageError("--inventory names no file or folder")
    if inventory and click.get_current_context().get_parameter_source("lab_name") is ParameterSource.COMMANDLINE:
        raise UsageError("--lab and --inventory name two clusters", "leave one of them out")
    target = Target.by_hand(Path(inventory)) if inventory else Target.lab(lab_name)
    run_dir = state.new_run("verify", lab_name)
    found = _found(target, choice, run_dir)
    # First, for there may be no room for the files.
    if output == "json":
        print_json(found.model_dump(mode="json", by_alias=True))
    else:
        report.show(found)
    _keep(found, run_dir)
    if output != "json":
        click.echo(f"report: {run_dir / 'report.html'} (report.json, junit.xml beside it)")
    return EXIT_CHECKS_FAILED if found.bad else EXIT_OK


def _found(target: Target, choice: run.Choice, run_dir: Path) -> Report:
    """What the checks find; a log of it that cannot be kept does not stop them."""
    found: Report | None = None
    try:
        with ui.showing(run_dir) as emit:
            telling = _Telling(emit)
            found = run.verify(target, choice, telling, telling.cleans_up)
    except OSError:
        # The log is closed last, and then written once more.
        if found is None:
            raise
    return found


def _keep(found: Report, run_dir: Path) -> None:
    """Write the report, each file as a whole or not at all. Raises `OSError` that says so."""
    try:
        state.write_file(run_dir / "report.json", found.model_dump_json(indent=1, by_alias=True) + "\n", 0o644)
        report.write_html(found, run_dir / "report.html")
        report.write_junit(found, run_dir / "junit.xml")
    except OSError as error:
        why = f"the report cannot be written: {error.strerror or error}"
        raise OSError(error.errno, why, str(run_dir)) from error


@dataclass
class _Telling:
    """Tells at once what is bad, and now and then how far it is; as far as there is room for the log of it."""

    emit: Emit
    count: int = 0

    def __call__(self, result: Result) -> None:
        self.count += 1
        with suppress(OSError):
            if result.is_bad:
                self.emit(Progress(f"{result.status}: {result.id} {result.title} ({result.subject})"))
            elif self.count % _TOLD_EVERY == 0:
                self.emit(Progress(f"{self.count} results"))

    def cleans_up(self) -> None:
        """Tell why an interruption takes its time."""
        with suppress(OSError):
            self.emit(Progress("interrupted: what the checks made goes first"))


def _skipped(text: str) -> tuple[str, str]:
    number, _, reason = text.partition("=")
    if not number.strip() or not reason.strip():
        raise UsageError(f"--skip {text!r}: a check is left out for a reason", f"--skip '{number or 'NODE-001'}=why'")
    return number, reason.strip()


def _list(choice: run.Choice, output: str) -> int:
    checks = run.chosen(choice)
    if output == "json":
        print_json({"schema": "labctl.checks/v1", "checks": [vars(check) for check in checks]})
        return EXIT_OK
    console = Console()
    for check in checks:
        deep = "  (deep)" if check.deep else ""
        console.print(f"{check.id:<12}{check.title}{deep}", highlight=False, soft_wrap=True)
    return EXIT_OK
