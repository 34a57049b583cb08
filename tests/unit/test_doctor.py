"""What doctor says of folders, and that one look that fails does not end the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import doctor
from labctl.errors import PrerequisiteError


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def found() -> dict[str, doctor.Check]:
    """By name, those for containers under their name, which others do not have."""
    return {check.name: check for check in doctor.examine()}


def test_what_labctl_yml_asks_for_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.asked_for() == "containers"
    (tmp_path / "labctl.yml").write_text(
        "provider: hosts\nhosts: {one: {role: control-plane, address: 192.0.2.1}}\n", encoding="utf-8"
    )
    assert doctor.asked_for() == "hosts"
    (tmp_path / "labctl.yml").write_text("provider: nonsense", encoding="utf-8")
    assert doctor.asked_for() == "containers"


def test_programs_that_every_lab_needs_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.process.has", lambda program: program != "ssh")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    checks = found()
    assert "openssh-client" in checks["ssh"].fix
    assert "ansible-core==" in checks["ansible"].fix
    assert {checks[name].needed_by for name in ("ssh", "ansible")} == {""}


@pytest.mark.parametrize("has_it", [True, False])
def test_what_a_bmc_takes_is_said(has_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setattr(doctor, "find_spec", lambda _: has_it or None)
    assert ("labctl[redfish]" in found()["power"].seen) is not has_it
    assert found()["power"].is_ok


def test_folders_that_can_be_written_or_made_are_fine() -> None:
    checks = found()
    assert checks["LABCTL_HOME"].is_ok
    assert checks["XDG_CACHE_HOME"].is_ok


@pytest.mark.parametrize(("variable", "folder"), [("LABCTL_HOME", "home"), ("XDG_CACHE_HOME", "cache")])
def test_a_folder_that_cannot_be_written_is_to_mend(
    variable: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere but on what is mounted read-only: os.access knows, as the kernel says so."""
    (tmp_path / folder).mkdir()
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path) != tmp_path / folder)
    checks = found()
    assert not checks[variable].is_ok
    assert f"{tmp_path / folder} cannot be written" in checks[variable].seen
    assert variable in checks[variable].fix
    assert sum(not checks[name].is_ok for name in ("LABCTL_HOME", "XDG_CACHE_HOME")) == 1


def test_a_file_where_a_folder_should_be_is_to_mend(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert not found()["LABCTL_HOME"].is_ok


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: Permission denied"),
        (PrerequisiteError("no Go", "install it"), "no Go"),
    ],
)
def test_a_look_that_fails_is_a_line_of_its_own(error: Exception, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("labctl.doctor.needs.look", fail)
    monkeypatch.setattr("labctl.doctor.clock.check", fail)
    checks = found()
    for name in ("room", "clock"):
        assert not checks[name].is_ok
        assert checks[name].seen == seen
        assert checks[name].fix
    assert checks["LABCTL_HOME"].is_ok
    assert "base image" in checks
