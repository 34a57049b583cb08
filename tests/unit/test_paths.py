"""Where SSH's control sockets are: short enough everywhere, one word among ssh's options, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labctl import paths, state
from labctl.errors import StateError

LAB = Path("/somewhere/labs/lab")
NAME = paths.ssh_control(LAB).name
HOMES = {
    "mac": "/Users/ada/Library/Application Support/labctl",
    "linux": "/home/augusta/.local/share/labctl",
    "percent": "/srv/100%",
    "short": "/srv/lab",
}


@pytest.fixture(autouse=True)
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 501)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.mark.parametrize(
    ("home", "folder"),
    [
        ("mac", "/tmp/labctl-501"),  # noqa: S108
        ("linux", "/tmp/labctl-501"),  # noqa: S108
        ("percent", "/tmp/labctl-501"),  # noqa: S108
        ("short", "/srv/lab/labctl"),
    ],
)
def test_a_home_that_is_too_long_or_has_odd_signs_has_no_sockets(
    home: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", HOMES[home])
    found = paths.ssh_control(LAB)
    assert found == Path(folder, NAME)
    assert len(f"{found}/{'c' * 40}.{'x' * 16}") < 104, "as macOS has it"


def test_a_runtime_directory_goes_first_and_root_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", HOMES["short"])
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("sys.platform", "linux")
    assert paths.ssh_control(LAB) == Path("/run/labctl", NAME)
    monkeypatch.setattr("sys.platform", "darwin")
    assert paths.ssh_control(LAB) == Path("/srv/lab/labctl", NAME), "macOS has no /run"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/501")
    assert paths.ssh_control(LAB) == Path("/run/user/501/labctl", NAME)


def test_a_folder_in_tmp_must_be_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    folder = shared / "labctl" / NAME
    for _ in range(2):
        state.make_private(folder)
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    folder.parent.chmod(0o770)
    with pytest.raises(StateError, match="not yours alone"):
        state.make_private(folder)
    folder.parent.chmod(0o700)
    another = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: another)
    with pytest.raises(StateError, match="not yours alone"):
        state.make_private(folder)
    link = shared / "link"
    link.symlink_to(folder)
    with pytest.raises(StateError, match="not yours alone"):
        state.make_private(link / NAME)


def test_elsewhere_nobody_asks_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    state.make_private(tmp_path / "labctl" / NAME)
    assert (tmp_path / "labctl" / NAME).is_dir()
