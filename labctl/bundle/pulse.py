"""Signs of life during long work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.events import Emit, Progress

PERIOD_S = 15.0


@contextmanager
def pulse(text: Callable[[], str], emit: Emit) -> Iterator[None]:
    """Emit `text()` every 15 seconds until the block ends."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(PERIOD_S):
            emit(Progress(text()))

    thread = threading.Thread(target=beat, name="bundle-pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
