"""What is in the wheel and the sdist. tests/e2e/test_wheel.py installs the wheel and brings a lab up with it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(source: Path, kind: str, into: Path) -> Path:
    argv = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(into)]
    subprocess.run(argv, cwd=source, check=True, capture_output=True)
    (made,) = into.iterdir()
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(build(ROOT, "wheel", tmp_path_factory.mktemp("wheel")))


def tracked(*folders: str) -> list[str]:
    """What is in git, or on its way into it."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_wheel_holds_the_package_and_what_ansible_needs(wheel: dict[str, bytes]) -> None:
    """Go sources and scripts of the package, playbooks, roles, and inventories to copy, each as it is in the tree."""
    wanted = {path: path for path in tracked("labctl")}
    project = tracked("playbooks", "roles", "inventories", "ansible.cfg", "Vagrantfile")
    wanted |= {path: f"labctl/_project/{path}" for path in project}
    assert any(path.endswith("go.mod") for path in wanted)
    assert not [path for path, name in wanted.items() if wheel.get(name) != (ROOT / path).read_bytes()]


def test_the_wheel_holds_nothing_else(wheel: dict[str, bytes]) -> None:
    known = {*tracked("labctl"), *(f"labctl/_project/{path}" for path in tracked())}
    assert not [name for name in wheel if name not in known and ".dist-info/" not in name]


def test_the_sdist_gives_the_same_wheel(wheel: dict[str, bytes], tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    assert contents(build(tmp_path / sdist.name.removesuffix(".tar.gz"), "wheel", tmp_path / "wheel")) == wheel
