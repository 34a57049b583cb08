"""What `labctl drill --plan` says, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill import forecast
from labctl.drill.declare import Drill
from labctl.drill.forecast import Forecast
from labctl.drill.model import Band
from labctl.drill.otherwise import timing_of
from labctl.drill.prospect import Prospect
from labctl.report.words import WORDS, label

_STYLE = {"comes back": "green", "waits": "yellow", "lost": "red", "unknown": "dim"}
_LINE = 500
"""characters"""


def show(forecasts: Sequence[Forecast], console: Console | None = None) -> None:
    """Each machine: the stages, in seconds after its power is cut, and its pods."""
    console = console or Console()
    for found in forecasts:
        timing = timing_of(found.settings)
        with_timing = f", timing {timing}" if timing else ""
        heading = f"If {found.victim} loses its power (Kubernetes {found.settings.version}{with_timing})"
        console.print(Text(f"\n{heading}", "bold"), soft_wrap=True)
        console.print(_stages(found))
        for prediction in found.predictions:
            if prediction.note:
                console.print(Text(f"{WORDS[prediction.name]}: {prediction.note}", "dim"), soft_wrap=True)
        console.print()
        for pod in found.pods:
            console.print(_pod(pod), soft_wrap=True)


def _stages(found: Forecast) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("predicted s", justify="right")
    for prediction in found.predictions:
        table.add_row(WORDS[prediction.name], _words(prediction.band))
    return table


def _pod(pod: forecast.Prospect) -> Text:
    when = f", evicted at {pod.evicted} s" if pod.evicted else ""
    then = f", another one Ready at {pod.replaced} s" if pod.replaced else ""
    return Text.assemble((f"{pod.fate:<10}", _STYLE[pod.fate]), f"  {pod.pod}{when}{then}: ", (pod.why, "dim"))


def _words(band: Band | None) -> str:
    return "never" if band is None else str(band)


def show_list(drills: Sequence[Drill], found: Mapping[str, Prospect], console: Console | None = None) -> None:
    """A line for each drill, by groups: about how long it takes here, or why it is not supported."""
    console = console or Console()
    if not console.is_terminal:
        console.width = _LINE  # a file is no window that text must fit into
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("drill", no_wrap=True)
    table.add_column("about s", justify="right")
    table.add_column("what is done and what must happen")
    group = ""
    for item in drills:
        if item.group != group:
            table.add_row(Text(item.group, "bold"))
            group = item.group
        here = found.get(item.name)
        seconds = f"{here.seconds:.0f}" if here and here.seconds is not None else "-"
        text = Text(item.text)
        if item.consent:
            text.append(" [--yes]", "yellow")
        if here and here.unsupported:
            text = Text(f"unsupported: {here.unsupported}", "dim")
        table.add_row(f"  {item.name}", seconds, text)
    console.print(table)


def show_plan(item: Drill, plan: Prospect, console: Console | None = None) -> None:
    """What is declared, and what is predicted for it here."""
    console = console or Console()
    console.print(Text(f"{item.name}: {item.text}", "bold"), soft_wrap=True)
    if item.why:
        console.print(Text(item.why, "dim"))
    if plan.unsupported:
        console.print(f"unsupported here: {plan.unsupported}", highlight=False, soft_wrap=True)
        return
    for number, step in enumerate((*item.setup, *item.steps), start=1):
        when = f" when {step.when} was seen" if step.when else ""
        later = f", {step.after_s:g} s later" if step.after_s else ""
        undo = "undo " if step.undo else ""
        console.print(f"{number}. {undo}{step.fault} on {step.target}{when}{later}", highlight=False)
    expect = ", ".join([f"node {item.expect.node}", *(f"{k} {v}" for k, v in item.expect.pods.items())])
    console.print(f"expected: {expect}, service {item.expect.service}", highlight=False)
    console.print(
        f"about {plan.seconds:.0f} s; {' or '.join(plan.victims)} among those that may be hit", highlight=False
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("predicted s", justify="right")
    table.add_column("why", style="dim")
    for prediction in plan.predictions:
        table.add_row(label(prediction, plan.predictions), _words(prediction.band), prediction.note)
    console.print(table)
