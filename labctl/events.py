"""What happens during a command, as frozen values. `labctl.ui` shows them, events.jsonl keeps them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class StepStarted:
    """A step of a command, such as ``machines``; `text` says it in words."""

    step: str
    text: str


@dataclass(frozen=True)
class StepFinished:
    """The step took `seconds`; `note` says what came of it."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Progress:
    """Something worth a line inside a step."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something the user should know; work goes on."""

    text: str


@dataclass(frozen=True)
class TaskStarted:
    """An Ansible task."""

    play: str
    task: str


@dataclass(frozen=True)
class TaskFinished:
    """An Ansible task on one host; `result` is ok, changed, failed, unreachable or skipped."""

    task: str
    host: str
    result: str
    seconds: float = 0.0
    message: str = ""


Event = StepStarted | StepFinished | Progress | Warned | TaskStarted | TaskFinished
Emit = Callable[[Event], None]


class EventLog:
    """Writes events as JSON lines: ``{"t": seconds, "event": name, ...}``, t on the monotonic clock from the start."""

    def __init__(self, path: Path) -> None:
        self._start = time.monotonic()
        self._file: TextIO = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        """Append `event` and flush."""
        line = {"t": round(time.monotonic() - self._start, 3), "event": type(event).__name__, **asdict(event)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
