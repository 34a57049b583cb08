"""Events on the terminal: a live view where stderr is one, plain lines in a pipe. Results go to stdout elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from labctl.events import (
    Emit,
    Event,
    EventLog,
    Progress,
    StepFinished,
    StepStarted,
    TaskFinished,
    TaskStarted,
    Warned,
)

_MARKS = {"ok": ("·", "green"), "changed": ("+", "yellow"), "failed": ("✗", "red"), "unreachable": ("✗", "red")}


class PlainLines:
    """One line an event, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print `event` to stderr."""
        line = _plain(event)
        if line:
            print(f"{time.monotonic() - self._start:7.1f}s  {line}", file=sys.stderr, flush=True)


def _plain(event: Event) -> str:
    match event:
        case StepStarted(step, text):
            return f"{step}: {text}"
        case StepFinished(step, seconds, note):
            return f"{step}: done in {seconds:.1f} s" + (f" ({note})" if note else "")
        case Progress(text):
            return f"  {text}"
        case Warned(text):
            return f"  warning: {text}"
        case TaskStarted(_, task):
            return f"  {task}"
        case TaskFinished(task, host, ("failed" | "unreachable") as result):
            return f"  {host}: {task}: {result}"
    return ""


class LiveView:
    """Finished steps scroll away as lines; the running step shows its task and what each host answered."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._step = ""
        self._task = ""
        self._hosts: dict[str, str] = {}
        self._spinner = Spinner("dots")
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take `event` into the view."""
        with self._lock:
            line = self._take(event)
        # Without the lock: printing draws the view anew, and that asks for the lock.
        if line is not None:
            self._console.print(line)

    def _take(self, event: Event) -> Text | None:
        """Remember what changes the view; returns the line that stays."""
        match event:
            case StepStarted(step, text):
                self._step, self._task, self._hosts = f"{step}: {text}", "", {}
            case StepFinished(step, seconds, note):
                self._step = ""
                return Text.assemble(("✓ ", "green"), (f"{step:<10}", "bold"), f"{seconds:6.1f} s  ", (note, "dim"))
            case Progress(text):
                return Text(f"  {text}", "dim")
            case Warned(text):
                return Text(f"  {text}", "yellow")
            case TaskStarted(_, task):
                self._task, self._hosts = task, {}
            case TaskFinished(_, host, result):
                self._hosts[host] = result
        return None

    def __rich__(self) -> RenderableType:
        """The part of the screen that changes."""
        with self._lock:
            if not self._step:
                return Text("")
            self._spinner.text = Text(f"{self._step}  {time.monotonic() - self._start:.0f} s", "bold")
            lines: list[RenderableType] = [self._spinner]
            if self._task:
                hosts = Text("    ")
                for host, result in sorted(self._hosts.items()):
                    mark, style = _MARKS.get(result, ("-", "dim"))
                    hosts.append(f"{mark} {host}  ", style)
                lines += [Text(f"    {self._task}"), hosts]
            return Group(*lines)


@contextmanager
def showing(run_dir: Path | None) -> Iterator[Emit]:
    """Yield the emit function of a command: it shows events and keeps them in `run_dir`/events.jsonl."""
    log = EventLog(run_dir / "events.jsonl") if run_dir else None
    console = Console(stderr=True)
    view = LiveView(console) if console.is_terminal else None
    show: Emit = view or PlainLines()

    def emit(event: Event) -> None:
        if log:
            log(event)
        show(event)

    try:
        if view:
            with Live(view, console=console, refresh_per_second=8, transient=True):
                yield emit
        else:
            yield emit
    finally:
        if log:
            log.close()
