"""What `labctl verify` says while it goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.cli import main
from labctl.cli.verify import _Telling
from labctl.events import Event
from labctl.report import junit
from labctl.verify.model import Report, Result, Status
from labctl.verify.target import Target


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


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_full_disk_takes_no_result_away(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    found = Report(
        lab="lab", started="", seconds=1, kubernetes="", deep=False, results=[result("failed"), result("passed")]
    )

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def verify(_target: object, _choice: object, on_result: Callable[[Result], None], _: object) -> Report:
        for one in found.results:
            on_result(one)
        return found

    monkeypatch.setattr("labctl.verify.run.verify", verify)
    monkeypatch.setattr(Target, "lab", lambda name: Target(name, tmp_path))
    monkeypatch.setattr("labctl.events.EventLog.__call__", full)
    monkeypatch.setattr("labctl.events.EventLog.close", full)
    monkeypatch.setattr(os, "fsync", full)
    assert main.run(["verify", "--output", output]) == 8
    told = capsys.readouterr()
    assert "it runs" in told.out
    assert "the report cannot be written: No space left on device" in told.err
    assert "the disk is full: free some space" in told.err
    assert {file.name for file in (tmp_path / "runs" / "latest").iterdir()} == {"events.jsonl"}


def test_a_report_for_ci_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_document: object, path: str, **_: object) -> None:
        Path(path).write_text("<testsuites><testsu")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("junitparser.JUnitXml.write", full)
    with pytest.raises(OSError, match="No space"):
        junit.write("labctl verify lab", "", [], tmp_path / "junit.xml")
    assert not list(tmp_path.iterdir())
