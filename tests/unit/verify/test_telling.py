"""What `labctl verify` says while it goes on."""

from __future__ import annotations

from labctl.cli.verify import _Telling
from labctl.events import Event
from labctl.verify.model import Result, Status


def result(status: Status) -> Result:
    return Result(id="NODE-001", title="it runs", subject="one", status=status, seen="", why="", fix="", seconds=0)


def test_what_is_bad_is_told_at_once_and_the_rest_counted() -> None:
    told: list[Event] = []
    telling = _Telling(told.append)
    telling(result("passed"))
    telling(result("failed"))
    telling(result("deviates"))
    for _ in range(47):
        telling(result("passed"))
    assert [vars(event)["text"] for event in told] == ["failed: NODE-001 it runs (one)", "50 results"]
