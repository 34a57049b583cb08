from pathlib import Path

import pytest
from pytest_subprocess import FakeProcess

from labctl import images
from labctl.errors import LabError, UsageError
from labctl.events import Event
from labctl.providers.base import Machine

MACHINES = [Machine(f"lab-worker-{number}", "worker", f"10.203.0.2{number}", "on") for number in (1, 2)]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "labctl").mkdir()
    monkeypatch.setattr("labctl.process.has", lambda program: program == "podman")


def test_an_image_that_no_engine_has_is_refused_before_anything_is_loaded(fp: FakeProcess) -> None:
    fp.register(["podman", "image", "inspect", fp.any()], returncode=125, stderr="no such image")
    with pytest.raises(UsageError, match="there is no image nowhere:1 on this host") as caught:
        images.load("lab", ["nowhere:1"], MACHINES, lambda _: None)
    assert "podman pull nowhere:1" in caught.value.hint


def test_an_archive_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no file .*/app\.tar"):
        images.load("lab", ["./app.tar"], MACHINES, lambda _: None)


def test_what_a_machine_has_is_not_loaded_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_text("one")
    there: dict[str, set[str]] = {machine.name: set() for machine in MACHINES}
    monkeypatch.setattr(images, "_present", lambda _lab, m, source: ["app:1"] if source.key in there[m.name] else [])
    monkeypatch.setattr(images, "_import", lambda _lab, m, source, _archive: there[m.name].add(source.key))
    seen: list[Event] = []

    def load() -> list[str]:
        [loaded] = images.load("lab", [str(archive)], MACHINES, seen.append)
        assert loaded.names == ["app:1"]
        return loaded.machines

    assert load() == ["lab-worker-1", "lab-worker-2"]
    assert load() == []
    there["lab-worker-2"].clear()
    assert load() == ["lab-worker-2"]
    archive.write_text("another")
    assert load() == ["lab-worker-1", "lab-worker-2"], "the same name with another content"


def test_what_ctr_refuses_is_said(monkeypatch: pytest.MonkeyPatch, fp: FakeProcess, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_text("no archive")
    fp.register([fp.any()], stderr="ctr: unrecognized image format", returncode=1)
    monkeypatch.setattr(images, "_present", lambda *_: [])
    with pytest.raises(LabError, match="cannot be loaded into lab-worker-1: ctr: unrecognized image format"):
        images.load("lab", [str(archive)], MACHINES[:1], lambda _: None)
