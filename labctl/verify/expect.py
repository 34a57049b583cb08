"""What a check saw and what it expected. All of a check's expectations are looked at, then it fails or passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class NothingToSeeError(AssertionError):
    """What a check looks at cannot be looked at; `fix` is about that, and not about what the check asks."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.fix = fix


@dataclass
class Expect:
    """The fixture `expect`: ``expect("mode of /etc/kubernetes/admin.conf", 0o600, seen)`` and the like."""

    seen: list[str] = field(default_factory=list)
    """all that was looked at"""
    expected: list[str] = field(default_factory=list)
    """of all that was looked at"""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """(seen, expected) where they differ"""
    excuse: str = ""
    """why this machine may be otherwise than a benchmark asks: what is wrong is a deviation then, no failure"""

    def __call__(self, what: str, expected: object, seen: object) -> None:
        """`seen` must equal `expected`."""
        self.that(what, repr_of(expected), seen, seen == expected)

    def within(self, what: str, expected: str, seen: object, accept: Callable[[Any], bool]) -> None:
        """`accept(seen)` must be true; `expected` says it in words."""
        self.that(what, expected, seen, accept(seen))

    def nothing(self, what: str, seen: object) -> None:
        """`seen` must be empty: a list of offenders."""
        self.that(what, "none", seen, not seen)

    def that(self, what: str, expected: str, seen: object, is_right: bool) -> None:  # noqa: FBT001 (it is the verdict)
        """Note that `what` was `seen`, and whether that is right."""
        line = f"{what}: {repr_of(seen)}"
        self.seen.append(line)
        self.expected.append(f"{what}: {expected}")
        if not is_right:
            self.wrong.append((line, self.expected[-1]))


def repr_of(value: object) -> str:
    """As a person would write it."""
    if isinstance(value, str):
        return value or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={repr_of(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple, set, frozenset)):
        return (
            ", ".join(repr_of(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value))
            or "none"
        )
    return "nothing" if value is None else str(value)
