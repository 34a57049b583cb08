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
    """One suite of `cases`, written as a whole or not at all; `started` is UTC, ISO 8601."""
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
    part = path.with_name(f".{path.name}.part")
    try:
        document.write(str(part), pretty=True)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
