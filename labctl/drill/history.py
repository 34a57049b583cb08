"""The history of a run: one JSON line an observation, all on one monotonic clock. Written first, judged later.

Every line has ``t`` (seconds since the run began, on labctl's clock) and ``kind``:

=========  ==============================================================================================
run        the first line: schema, UTC of t = 0
phase      a phase began: baseline, inject, observe, heal, recovery
fault      ``step``: call, done, proof, no-proof
heal       ``step``: call, done
watch      ``what``, ``change`` and the ``object``, stamped on receipt
gap        a watch may have missed something between ``start`` and ``end``
beacon     whether the victim itself answered a connection that was begun at ``t``
request    ``stream``, ``seq``, ``intended``, ``sent``, ``done``, ``class``, ``pod``, ``node``
snapshot   all pods as listed
crash      what broke a phase
leftover   what recovery could not restore
=========  ==============================================================================================
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
_TURNS = ("phase", "fault", "heal")
"""written through at once: whoever reads after a kill knows how far it came"""


class History:
    """Appends entries from any thread. `listener` sees each entry, in the order of the file."""

    def __init__(self, path: Path, clock: Callable[[], float], listener: Callable[[Entry], None]) -> None:
        self._clock = clock
        self._listener = listener
        self._origin = clock()
        self._lock = threading.Lock()
        self._file = path.open("x", encoding="utf-8")
        self.record("run", schema="labctl.history/v1", utc=datetime.now(UTC).isoformat(timespec="milliseconds"))

    def record(self, kind: str, *, at: float | None = None, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Add an entry that happened now, or at `at` on the clock. After `close` it is dropped."""
        with self._lock:
            if self._file.closed:
                return
            entry: Entry = {"t": self.since_start(self._clock() if at is None else at), "kind": kind, **fields}
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            if kind in _TURNS:
                self._file.flush()
            self._listener(entry)

    def since_start(self, at: float) -> float:
        """An instant of the clock as ``t``."""
        return round(at - self._origin, 4)

    def sync(self) -> None:
        """Put on disk what was recorded."""
        with self._lock:
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close. Idempotent."""
        self.sync()
        with self._lock:
            self._file.close()


def read(path: Path) -> Iterator[Entry]:
    """The entries of a history; a torn last line is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            yield entry
