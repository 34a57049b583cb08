"""What a check is called, why it matters and what to do: a mark on a pytest function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

Role = Literal["control-plane", "worker"]


@dataclass(frozen=True)
class Check:
    """One question to a lab. `id` is stable: NODE-014, CLUSTER-003, or CIS-1.2.7 as in the CIS Kubernetes Benchmark.

    `on` limits it to nodes of that role. A `deep` check takes long, or puts load on the lab. A `past` one
    looks at what has happened: nothing that is done now makes it pass, so `up` warns, and drills pass over it.
    """

    id: str
    title: str
    why: str
    fix: str
    on: Role | None = None
    deep: bool = False
    past: bool = False


def is_called(check: Check, pattern: str) -> bool:
    """Whether the check has such a number: NODE-014, or a pattern as CIS-1.*; case does not matter."""
    return fnmatch(check.id.upper(), pattern.upper())


def check(
    id: str,  # noqa: A002 (the word of the report)
    title: str,
    *,
    why: str,
    fix: str,
    on: Role | None = None,
    deep: bool = False,
    past: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test a check of `labctl verify`."""
    import pytest  # noqa: PLC0415 (slow, and all of labctl reads results)

    mark: Any = pytest.mark.check(Check(id, title, why, fix, on, deep, past))
    decorated: Callable[[Callable[..., None]], Callable[..., None]] = mark
    return decorated
