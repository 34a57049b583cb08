"""What looks back is told; what is wrong now stops `up` and drills."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl import bootstrap
from labctl.errors import CheckError
from labctl.events import Event, Warned
from labctl.verify.model import Report, Result
from labctl.verify.target import Target


def failed(number: str, *, past: bool) -> Result:
    fields: dict[str, Any] = {
        "id": number,
        "title": "calm",
        "subject": "cluster",
        "status": "failed",
        "seen": "a storm",
    }
    return Result(**fields, why="", fix="", past=past, seconds=0)


def report(*results: Result) -> Report:
    fields = {"lab": "lab", "started": "", "seconds": 0, "kubernetes": "", "deep": False}
    return Report.model_validate({**fields, "results": results})


@dataclass
class Work:
    run_dir: Path
    told: list[Event] = field(default_factory=list)
    config: Any = field(default_factory=lambda: SimpleNamespace(name="lab"))
    nodes: tuple[Any, ...] = ()
    changed: int = 0
    seen: Report | None = None

    def ahead(self) -> Report | None:
        return self.seen

    def emit(self, event: Event) -> None:
        self.told.append(event)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(Target, "lab", lambda name: name)
    return Work(tmp_path)


def verify(work: Work, monkeypatch: pytest.MonkeyPatch, found: Report) -> str:
    monkeypatch.setattr(bootstrap, "verify", lambda _: found)
    return bootstrap._verify(work)  # type: ignore[arg-type] # as much of it as is used


def test_up_warns_of_the_past_and_goes_on(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(work, monkeypatch, report(failed("CLUSTER-017", past=True))) == "1 checks"
    assert work.told == [Warned("CLUSTER-017 calm (cluster): a storm")]


def test_up_fails_for_what_is_wrong_now(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(failed("CLUSTER-017", past=True), failed("CLUSTER-016", past=False))
    with pytest.raises(CheckError, match=r"^the lab is up, but not what it should be:\nCLUSTER-016 calm"):
        verify(work, monkeypatch, found)
    assert [type(event) for event in work.told] == [Warned]


@pytest.mark.parametrize(("changed", "checks"), [(0, 2), (1, 1)])
def test_checks_that_were_begun_early_hold_if_nothing_was_changed(
    work: Work, monkeypatch: pytest.MonkeyPatch, changed: int, checks: int
) -> None:
    work.changed, work.seen = changed, report(*[failed("CLUSTER-017", past=True)] * 2)
    assert verify(work, monkeypatch, report(failed("CLUSTER-017", past=True))) == f"{checks} checks"


def test_a_verification_fails_for_both() -> None:
    found = report(failed("CLUSTER-017", past=True), failed("CLUSTER-016", past=False))
    assert [result.id for result in found.bad] == ["CLUSTER-017", "CLUSTER-016"]
    assert [result.id for result in found.broken] == ["CLUSTER-016"]
