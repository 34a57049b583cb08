import json
import os
import stat
from pathlib import Path

import pytest

from labctl import paths, state
from labctl.config import LabConfig
from labctl.errors import StateError, UsageError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))


def record(name: str = "lab") -> state.LabRecord:
    return state.LabRecord(created=state.now(), config=LabConfig(name=name), bundle="/b")


def test_a_record_survives_a_round_trip() -> None:
    written = record()
    state.save(written)
    assert state.get("lab") == written
    assert paths.lab_names() == ["lab"]


def test_state_is_for_its_owner_alone() -> None:
    state.save(record())
    lab = paths.LabPaths("lab")
    assert stat.S_IMODE(lab.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(lab.record.stat().st_mode) == 0o600


def test_a_missing_lab_names_the_others() -> None:
    state.save(record("other"))
    with pytest.raises(UsageError, match="there are: other"):
        state.get("lab")


def test_a_record_of_a_newer_labctl_is_refused() -> None:
    state.save(record())
    path = paths.LabPaths("lab").record
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99, "unknown_here": 1}))
    with pytest.raises(StateError, match="newer labctl") as caught:
        state.get("lab")
    assert "labctl down" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1, "config": 3}', "\x00" * 64])
def test_a_damaged_record_is_named(text: str) -> None:
    state.save(record())
    paths.LabPaths("lab").record.write_text(text)
    with pytest.raises(StateError, match=r"lab\.json"):
        state.get("lab")


def test_two_commands_do_not_work_on_one_lab() -> None:
    with state.lock("lab"), pytest.raises(StateError, match="another labctl command"), state.lock("lab"):
        pass
    with state.lock("lab"), state.lock("two"):
        pass


def test_whether_a_lab_is_at_work_can_be_seen_without_taking_part() -> None:
    assert not state.is_locked("lab")
    assert not paths.LabPaths("lab").lock.exists()
    with state.lock("lab"):
        assert state.is_locked("lab")
        assert state.is_locked("lab"), "a look changes nothing"
    assert not state.is_locked("lab")


def test_a_lab_that_is_not_there_leaves_no_lock() -> None:
    state.save(record())
    with state.lock("lab"), state.lock("never-was"):
        pass
    assert paths.LabPaths("lab").lock.exists()
    assert not paths.LabPaths("never-was").lock.exists()
    with state.lock("lab"):
        state.forget("lab")
    assert not paths.LabPaths("lab").lock.exists()


def test_whoever_opened_a_lock_that_then_vanished_takes_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise two commands could hold a lock of the same name."""
    path = paths.LabPaths("lab").lock
    opened = os.open
    names: list[str] = []

    def vanishing(name: str, *words: int) -> int:
        handle = opened(name, *words)
        if not names:
            path.unlink()  # by a command that has just ended
        names.append(name)
        return handle

    monkeypatch.setattr("os.open", vanishing)
    with state.lock("lab"):
        assert len(names) > 1
        assert state.is_locked("lab")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    state.write_file(target, "old")

    def full(_fd: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        state.write_file(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target], "no temporary file is left"


def test_forget_removes_the_lab_and_keeps_the_runs() -> None:
    state.save(record())
    run = state.new_run("up", "lab")
    state.forget("lab")
    state.forget("lab")
    assert state.find("lab") is None
    assert run.is_dir()
    assert (paths.runs() / "latest").resolve() == run.resolve()
