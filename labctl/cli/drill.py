"""labctl drill."""

from __future__ import annotations

import click

from labctl import drill, drills, state, ui
from labctl.cli.options import completing, lab_option, output_option, print_json
from labctl.drill.forecast import forecast
from labctl.errors import EXIT_OK, UsageError
from labctl.report import drill as report
from labctl.report import forecast as forecasts
from labctl.report import terminal


@click.command("drill")
@lab_option
@click.argument("name", required=False, shell_complete=completing(lambda _: list(drill.DRILLS)))
@click.option("--list", "only_list", is_flag=True, help="List the drills.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would happen, pod by pod, and do nothing.")
@click.option("--seed", type=int, help="Repeat a run's random choices; each run prints its own.")
@output_option
def command(lab_name: str, name: str | None, output: str, seed: int | None, **only: bool) -> int:
    """Inject a fault, time what happens, compare, undo the fault.

    What happens is compared with what the settings in force predict.

    \b
    Examples:
      labctl drill --list
      labctl drill worker-poweroff
      labctl drill worker-poweroff --plan
      labctl drill worker-poweroff --output json

    Exit code 0: passed, 1: failed, 3: inconclusive, or the fault did not happen.
    """
    if only["only_list"]:
        for item in drill.DRILLS.values():
            click.echo(f"{item.name:<20} {item.text}")
        return EXIT_OK
    if name not in drill.DRILLS:
        raise UsageError(f"there is no drill {name}" if name else "name a drill", "labctl drill --list shows them")
    if only["only_plan"]:
        return _plan(lab_name, output)
    with state.lock(lab_name):
        lab = drills.lab_of(lab_name)
        run_dir = state.new_run("drill", lab_name)
        with ui.showing(run_dir) as emit:
            drill.run(drill.DRILLS[name], lab, run_dir, emit, seed)
        verdict = report.write(run_dir)
    if output == "json":
        click.echo(verdict.to_json())
    else:
        terminal.show(verdict, run_dir)
    return verdict.exit_code


def _plan(lab_name: str, output: str) -> int:
    found = forecast(drills.lab_of(lab_name))
    if output == "json":
        victims = [victim.model_dump(mode="json") for victim in found]
        print_json({"schema": "labctl.forecast/v1", "lab": lab_name, "victims": victims})
    else:
        forecasts.show(found)
    return EXIT_OK
