"""JUnit XML, for CI servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import junitparser


def write(
    title: str,
    started: str,
    cases: Iterable[junitparser.TestCase],
    path: Path,
    *,
    properties: Mapping[str, str] | None = None,
) -> None:
    """One suite of `cases`; `started` is UTC, ISO 8601."""
    suite = junitparser.TestSuite(title)
    suite.timestamp = started
    for name, value in (properties or {}).items():
        suite.add_property(name, value)
    for case in cases:
        suite.add_testcase(case)
    document = junitparser.JUnitXml(title.rpartition(" ")[0])
    document.add_testsuite(suite)
    count: Callable[[], None] = document.update_statistics  # untyped in the library
    count()
    document.write(str(path), pretty=True)
