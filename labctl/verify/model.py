"""The result of a verification: written as JSON, with a schema in docs/schemas/verify.json."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Status = Literal["passed", "failed", "deviates", "skipped", "error"]
"""deviates: otherwise than asked, with a reason that is given. error: the check itself could not be carried out."""
CLUSTER = "cluster"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Terminals obey it, and XML cannot hold it (https://www.w3.org/TR/xml/#charsets)."""


class Result(BaseModel):
    """What one check said of one subject: a node's name, or ``cluster``."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    subject: str
    status: Status
    seen: str
    expected: str = ""
    why: str
    fix: str
    reason: str = ""
    """why it was skipped, or why it may deviate"""
    deep: bool = False
    past: bool = False
    """the check looks at what has happened, not at what is"""
    seconds: float

    @field_validator("seen", "expected", "reason")
    @classmethod
    def _printable(cls, text: str) -> str:
        """What a program of the lab says may be anything."""
        return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

    @property
    def is_bad(self) -> bool:
        """Whether the lab is not what it claims to be, as far as this result goes."""
        return self.status in ("failed", "error")

    def sentence(self) -> str:
        """One line for a terminal or an error."""
        return f"{self.id} {self.title} ({self.subject}): {self.seen}" + (
            f"; expected {self.expected}" if self.expected else ""
        )


class Report(BaseModel):
    """All results of a verification."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_version: Literal["labctl.verify/v1"] = Field("labctl.verify/v1", alias="schema")
    lab: str
    started: str
    """UTC, ISO 8601"""
    seconds: float
    kubernetes: str
    deep: bool
    results: list[Result]

    @property
    def bad(self) -> list[Result]:
        """The failures."""
        return [result for result in self.results if result.is_bad]

    @property
    def broken(self) -> list[Result]:
        """The failures that are so now, and may be mended."""
        return [result for result in self.bad if not result.past]

    @property
    def counts(self) -> Counter[Status]:
        """How many of each status."""
        return Counter(result.status for result in self.results)
