"""What all tests share. The checks below nodes/ and cluster/ run without what only this project's own tests need."""

from __future__ import annotations

import signal
from importlib.util import find_spec


def pytest_configure() -> None:
    """A shell that starts pytest in the background has it ignore Ctrl-C, and so would all labctls that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if find_spec("hypothesis"):
        import hypothesis  # noqa: PLC0415 (not there where labctl alone is installed)

        hypothesis.settings.register_profile("on a busy machine too", deadline=None)
        hypothesis.settings.load_profile("on a busy machine too")
