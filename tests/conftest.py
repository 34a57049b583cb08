"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell that starts pytest in the background has it ignore Ctrl-C, and so would all labctls that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
