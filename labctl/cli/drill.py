"""labctl drill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from labctl import config, consent, drill, drills, state, ui
from labctl.cli.options import completing, lab_option, output_option, print_json
from labctl.drill import catalog
from labctl.drill.forecast import forecast
from labctl.drill.prospect import prospects
from labctl.drill.registry import fault
from labctl.drill.series import may_go_on, series
from labctl.errors import EXIT_OK, LabError, UsageError, command_for
from labctl.report import drill as report
from labctl.report import forecast as forecasts
from labctl.report import series as series_report
from labctl.report import suite as suite_report
from labctl.report import terminal


@click.command("drill")
@lab_option
@click.argument("name", required=False, shell_complete=completing(lambda _: list(catalog.drills())))
@click.option("--suite", metavar="SUITE", help=f"All drills of a suite or a group; by default {catalog.SHORT}.")
@click.option("--list", "only_list", is_flag=True, help="List the drills, and whether this lab supports them.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would happen, pod by pod, and do nothing.")
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=1, metavar="N", help="So often, and the spread of each stage."
)
@click.option(
    "--recovered-within",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Fail if it takes longer.",
)
@click.option("--failed-at-most", type=click.IntRange(min=0), metavar="N", help="Fail if more requests fail.")
@click.option("--seed", type=int, help="Repeat a run's random choices; each run prints its own.")
@click.option("--yes", is_flag=True, help="Agree to drills that take the control plane away.")
@output_option
def command(lab_name: str, name: str | None, output: str, runs: int, seed: int | None, **more: Any) -> int:
    """Inject a fault, time what happens, compare, undo the fault.

    NAME is a drill of labctl's, or a YAML file of your own (docs/drill-files.md). What happens is compared with what
    the settings in force predict. Without NAME, the short suite runs.

    \b
    Examples:
      labctl drill
      labctl drill --list
      labctl drill worker-poweroff
      labctl drill worker-poweroff --plan
      labctl drill worker-poweroff --runs 10
      labctl drill worker-poweroff --recovered-within 30 --failed-at-most 200
      labctl drill --suite network
      labctl drill ./my-drill.yml --output json

    Exit code 0: passed, 1: failed, 3: inconclusive, or the fault did not happen. Of several runs the worst one counts,
    and a run without evidence is the last one.
    """
    if more["only_list"]:
        return _list(lab_name, output)
    if name and more["suite"]:
        raise UsageError("name a drill or a suite, not both")
    limits = {"recovered_within_s": more["recovered_within"], "failed_at_most": more["failed_at_most"]}
    given = {key: value for key, value in limits.items() if value is not None}
    found = [catalog.find(name)] if name else catalog.suite(more["suite"] or catalog.SHORT)
    chosen = [item.model_copy(update=given) for item in found]
    if more["only_plan"]:
        return _plan(chosen, lab_name, output)
    consent.require(lab_name, "drills")
    with state.lock(lab_name):
        if not name:
            return _suite(chosen, lab_name, seed, output, is_agreed=more["yes"])
        _agreed(chosen[0], lab_name, is_agreed=more["yes"])
        if runs > 1:
            return _several(chosen[0], lab_name, runs, seed, output)
        verdict = _run(chosen[0], lab_name, seed)
    if output == "json":
        click.echo(verdict.to_json())
    else:
        terminal.show(verdict, Path(verdict.run_dir))
    return verdict.exit_code


def _agreed(chosen: drill.Drill, lab_name: str, *, is_agreed: bool) -> None:
    """Refuse what takes the control plane away and was not agreed to."""
    is_agreed = is_agreed or config.load(None, {"name": lab_name}).drills.control_plane
    if chosen.consent and not is_agreed:
        raise UsageError(
            f"{chosen.name} takes the control plane away",
            f"{command_for(lab_name, 'drill', chosen.name)} --yes agrees to it, or drills: {{control_plane: true}} "
            "in labctl.yml for all of them",
        )


def _run(chosen: drill.Drill, lab_name: str, seed: int | None) -> drill.Verdict:
    run_dir = state.new_run("drill", lab_name)
    with ui.showing(run_dir) as emit:
        drill.run(chosen, drills.lab_of(lab_name), run_dir, emit, seed)
    return report.write(run_dir)


def _several(chosen: drill.Drill, lab_name: str, runs: int, seed: int | None, output: str) -> int:
    verdicts: list[drill.Verdict] = []
    for number in range(runs):
        click.echo(f"run {number + 1} of {runs}", err=True)
        verdicts.append(_run(chosen, lab_name, None if seed is None else seed + number))
        if not may_go_on(verdicts[-1]):
            break
    found = series(verdicts, runs)
    folder = state.new_run("series", lab_name)
    series_report.write(found, folder)
    if output == "json":
        click.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        series_report.show(found, folder)
    return found.exit_code


def _suite(chosen: Sequence[drill.Drill], lab_name: str, seed: int | None, output: str, *, is_agreed: bool) -> int:
    """Each drill that this lab supports; one that cannot begin is said, and the others have their turn."""
    entries: list[suite_report.Entry] = []
    for number, item in enumerate(chosen, start=1):
        click.echo(f"{item.name} ({number} of {len(chosen)})", err=True)
        entry = _entry(item, lab_name, seed, is_agreed=is_agreed)
        entries.append(entry)
        if entry.verdict and not may_go_on(entry.verdict) and entry.verdict.verdict == "fail":
            click.echo("the lab is not whole: the suite ends here", err=True)
            break
    found = suite_report.suite(entries, lab_name, wanted=len(chosen))
    folder = state.new_run("suite", lab_name)
    suite_report.write(found, folder)
    if output == "json":
        click.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        suite_report.show(found, folder)
    return found.exit_code


def _entry(item: drill.Drill, lab_name: str, seed: int | None, *, is_agreed: bool) -> suite_report.Entry:
    lab = drills.lab_of(lab_name)
    why = drill.unsupported(item, lab)
    if why:
        return suite_report.Entry(drill=item.name, unsupported=why)
    try:
        _agreed(item, lab_name, is_agreed=is_agreed)
        return suite_report.Entry(drill=item.name, verdict=_run(item, lab_name, seed))
    except LabError as error:
        return suite_report.Entry(drill=item.name, refused=f"{error} {error.hint}".strip())


def _list(lab_name: str, output: str) -> int:
    shipped = list(catalog.drills().values())
    try:
        found = {item.name: item for item in prospects(shipped, drills.lab_of(lab_name))}
    except LabError as error:
        found = {}
        click.echo(f"no lab was asked what it supports: {error}", err=True)
    if output == "json":
        rows = [
            {"name": item.name, "group": item.group, "suites": item.suites, "text": item.text, "consent": item.consent}
            | {"needs": item.needs.model_dump()}
            | ({"unsupported": found[item.name].unsupported, "seconds": found[item.name].seconds} if found else {})
            for item in shipped
        ]
        print_json({"schema": "labctl.drills/v1", "lab": lab_name, "drills": rows})
    else:
        forecasts.show_list(shipped, found)
    return EXIT_OK


def _plan(chosen: Sequence[drill.Drill], lab_name: str, output: str) -> int:
    lab = drills.lab_of(lab_name)
    plans = prospects(list(chosen), lab)
    kills = any(item.steps and fault(item.steps[0].fault).node_goes == "unreachable" for item in chosen)
    victims = forecast(lab) if kills else ()
    if output == "json":
        rows = [plan.model_dump(mode="json") for plan in plans]
        pods = [victim.model_dump(mode="json") for victim in victims]
        print_json({"schema": "labctl.forecast/v1", "lab": lab_name, "drills": rows, "victims": pods})
        return EXIT_OK
    for item, plan in zip(chosen, plans, strict=True):
        forecasts.show_plan(item, plan)
    forecasts.show(victims)
    return EXIT_OK
