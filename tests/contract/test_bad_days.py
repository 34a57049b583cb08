"""Bad days as the command line tells them: a sentence, the mending command, an exit code, and nothing made."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import clock, paths
from labctl.cli import main
from labctl.providers.base import Problem
from labctl.providers.container import ContainerProvider


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def nothing_made(tmp_path: Path) -> bool:
    """No lab, no bundle, no image: a run's log and a lock are all that may be there."""
    made = [path for path in tmp_path.glob("cache/labctl/*") if path.is_dir()]
    return not paths.lab_names() and not made and not list(tmp_path.glob("home/labs/*/"))


@pytest.mark.parametrize("command", ["up", "down", "doctor"])
def test_no_engine(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main.run([command]) == 4
    out, err = capsys.readouterr()
    assert "podman" in out + err
    assert "Traceback" not in err
    assert nothing_made(tmp_path)
    if command == "up":
        assert "fix: sudo apt-get install -y podman netavark" in err


def test_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main.run(["up"]) == 4
    err = capsys.readouterr().err
    assert "need root" in err
    assert "labctl with sudo" in err
    assert nothing_made(tmp_path)


def test_what_is_in_the_way_of_the_lab_ends_up_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ContainerProvider, "preflight", lambda _self: [])
    problem = Problem("disk: 0.1 GB free, about 3.5 GB needed", "free some space")
    monkeypatch.setattr(ContainerProvider, "obstacles", lambda *_, **__: [problem])
    assert main.run(["up"]) == 4
    assert "disk: 0.1 GB free, about 3.5 GB needed\n    fix: free some space" in capsys.readouterr().err
    assert nothing_made(tmp_path)


def test_a_clock_that_is_far_off_ends_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ContainerProvider, "preflight", lambda _self: [])
    monkeypatch.setattr(clock, "check", lambda *_: [Problem("the clock says 1970-01-01", "set the clock")])
    assert main.run(["up"]) == 4
    assert "1970-01-01\n    fix: set the clock" in capsys.readouterr().err
    assert nothing_made(tmp_path)
