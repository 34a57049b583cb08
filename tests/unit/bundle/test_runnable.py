"""Which kubectl a controller runs: a bundle's is for the lab's machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import bundle, process
from labctl.bundle import Bundle, Manifest, ProgramEntry
from labctl.errors import PrerequisiteError


def of(arch: str) -> Bundle:
    program = ProgramEntry(
        name="kubectl", path="bin/kubectl", version="1", sha256="0" * 64, size=1, origin="x", licence="y"
    )
    manifest = Manifest(
        kubernetes="1.37.2",
        arch=arch,
        source="download",
        recipe="0" * 16,
        components={},
        programs=[program],
        images=[],
    )
    return Bundle(Path("/b"), manifest)


@pytest.fixture(autouse=True)
def _amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")


def test_the_labs_own_where_it_runs() -> None:
    assert bundle.kubectl(of("amd64")) == Path("/b/bin/kubectl")


@pytest.mark.parametrize(("system", "arch"), [("darwin", "amd64"), ("linux", "arm64")])
def test_the_one_in_path_where_it_does_not(system: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(process, "has", lambda _: True)
    assert bundle.kubectl(of(arch)) == Path("kubectl")
    monkeypatch.setattr(process, "has", lambda _: False)
    with pytest.raises(PrerequisiteError, match=f"for Linux on {arch}, not for this machine") as caught:
        bundle.kubectl(of(arch))
    assert "install kubectl 1.37.2" in caught.value.hint
