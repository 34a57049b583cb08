"""labctl drill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labctl import consent, drill, drills, state, ui
from labctl.cli.options import completing, lab_option, output_option, print_json
from labctl.drill.forecast import forecast
from labctl.drill.series import may_go_on, series
from labctl.errors import EXIT_OK, UsageError
from labctl.report import drill as report
from labctl.report import forecast as forecasts
from labctl.report import series as series_report
from labctl.report import terminal


@click.command("drill")
@lab_option
@click.argument("name", required=False, shell_complete=completing(lambda _: list(drill.DRILLS)))
@click.option("--list", "only_list", is_flag=True, help="List the drills.")
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
@output_option
def command(lab_name: str, name: str | None, output: str, runs: int, seed: int | None, **more: Any) -> int:
    """Inject a fault, time what happens, compare, undo the fault.

    What happens is compared with what the settings in force predict.

    \b
    Examples:
      labctl drill --list
      labctl drill worker-poweroff
      labctl drill worker-poweroff --plan
      labctl drill worker-poweroff --runs 10
      labctl drill worker-poweroff --recovered-within 30 --failed-at-most 200
      labctl drill worker-poweroff --output json

    Exit code 0: passed, 1: failed, 3: inconclusive, or the fault did not happen. Of several runs the worst one counts,
    and a run without evidence is the last one.
    """
    if more["only_list"]:
        for item in drill.DRILLS.values():
            click.echo(f"{item.name:<20} {item.text}")
        return EXIT_OK
    if name not in drill.DRILLS:
        raise UsageError(f"there is no drill {name}" if name else "name a drill", "labctl drill --list shows them")
    if more["only_plan"]:
        return _plan(lab_name, output)
    limits = {"recovered_within_s": more["recovered_within"], "failed_at_most": more["failed_at_most"]}
    chosen = drill.DRILLS[name].model_copy(update=limits)
    consent.require(lab_name, "drills")
    with state.lock(lab_name):
        if runs > 1:
            return _several(chosen, lab_name, runs, seed, output)
        verdict = _run(chosen, lab_name, seed)
    if output == "json":
        click.echo(verdict.to_json())
    else:
        terminal.show(verdict, Path(verdict.run_dir))
    return verdict.exit_code


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


def _plan(lab_name: str, output: str) -> int:
    found = forecast(drills.lab_of(lab_name))
    if output == "json":
        victims = [victim.model_dump(mode="json") for victim in found]
        print_json({"schema": "labctl.forecast/v1", "lab": lab_name, "victims": victims})
    else:
        forecasts.show(found)
    return EXIT_OK
