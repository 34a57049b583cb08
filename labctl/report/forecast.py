"""What `labctl drill --plan` says, as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labctl.drill.forecast import Forecast, Prospect
from labctl.drill.model import Band
from labctl.drill.otherwise import timing_of
from labctl.report.terminal import WORDS

_STYLE = {"comes back": "green", "waits": "yellow", "lost": "red", "unknown": "dim"}


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


def _pod(pod: Prospect) -> Text:
    when = f", evicted at {pod.evicted} s" if pod.evicted else ""
    then = f", another one Ready at {pod.replaced} s" if pod.replaced else ""
    return Text.assemble((f"{pod.fate:<10}", _STYLE[pod.fate]), f"  {pod.pod}{when}{then}: ", (pod.why, "dim"))


def _words(band: Band | None) -> str:
    return "never" if band is None else str(band)
