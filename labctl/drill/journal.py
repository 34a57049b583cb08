"""The intent journal of a lab: what is about to be changed is on disk before it is changed.

One JSON line an intent, and a line with ``"closed"`` when it was undone and verified. A line that was cut off by a
crash is ignored: its change was never made, since the change waits for the fsync.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, StringConstraints, ValidationError

from labctl.drill.declare import Frozen
from labctl.errors import StateError, command_for


class Intent(Frozen):
    """A change that must be undone. A newer labctl may have written more about it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    drill: str
    fault: str
    """``workload`` (the drill's own namespace) or a fault's name"""
    machine: str = ""
    restore: tuple[Annotated[str, StringConstraints(pattern=r"^[^/]+/[^/]+$")], ...] = ()
    """bare pods (``namespace/name``) that labctl made and the fault takes away"""
    before: str = ""
    """what the fault saw before it, and needs to be undone"""
    intended_at: str
    run_dir: str = ""
    pid: int = 0
    """the labctl that runs the drill"""


class Journal:
    """The journal file of the lab `lab`."""

    def __init__(self, path: Path, lab: str) -> None:
        self.path = path
        self._lab = lab

    def intend(
        self,
        drill: str,
        fault: str,
        *,
        machine: str = "",
        restore: tuple[str, ...] = (),
        run_dir: str = "",
        before: str = "",
    ) -> Intent:
        """Write down an intent; it is on disk when this returns."""
        intent = Intent(
            id=uuid.uuid4().hex,
            drill=drill,
            fault=fault,
            machine=machine,
            restore=restore,
            before=before,
            intended_at=_now(),
            run_dir=run_dir,
            pid=os.getpid(),
        )
        self._append(intent.model_dump())
        return intent

    def close(self, intent: Intent) -> None:
        """Write down that `intent` was undone and that this was verified."""
        self._append({"closed": intent.id, "at": _now()})

    def open_intents(self) -> list[Intent]:
        """Intents that were not closed, oldest first."""
        intents: dict[str, Intent] = {}
        for line in self._lines():
            if isinstance(line.get("closed"), str):
                intents.pop(line["closed"], None)
            else:
                intent = self._intent(line)
                intents[intent.id] = intent
        return list(intents.values())

    def _intent(self, line: dict[str, Any]) -> Intent:
        try:
            return Intent.model_validate(line)
        except ValidationError as error:
            recover = command_for(self._lab, "recover")
            raise StateError(
                f"{self.path} holds a line that is no intent: {json.dumps(line)[:200]}",
                f"mv {self.path} {self.path}.damaged && {recover}, which looks at the machines themselves",
            ) from error

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # cut off by a crash: the change it announces was not made
            if isinstance(line, dict):
                lines.append(line)
        return lines

    def _append(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            is_torn = False
            if end:
                file.seek(end - 1)
                is_torn = file.read(1) != b"\n"
            file.write((b"\n" if is_torn else b"") + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
