"""What all tests share."""

from __future__ import annotations

import signal

import hypothesis

hypothesis.settings.register_profile("on a busy machine too", deadline=None)
hypothesis.settings.load_profile("on a busy machine too")


def pytest_configure() -> None:
    """A shell that starts pytest in the background has it ignore Ctrl-C, and so would all labctls that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
