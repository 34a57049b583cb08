"""The built wheel, installed by pip and by pipx, in an empty folder far from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import bundle
from labctl.config import DEFAULT_KUBERNETES
from labctl.errors import PrerequisiteError
from tests.e2e.conftest import Cli

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, **env: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", into, ROOT)
    (made,) = into.glob("labctl-*.whl")
    return made


@pytest.fixture(scope="module")
def by_pip(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pip")
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin" / "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "-r", ROOT / "constraints" / "run.txt")
    run(*pip, "--no-deps", wheel)
    return folder / "bin" / "labctl"


@pytest.fixture(scope="module")
def by_pipx(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipx")
    run(sys.executable, "-m", "venv", folder / "own")
    run(folder / "own" / "bin" / "pip", "install", "--quiet", "pipx")
    env = {name: str(folder / name.lower()) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")}
    # The versions of constraints/run.txt; pipx hands a wheel to pip, for which that file has no hash.
    locked = re.findall(r"^(\S+==.*?)(?: \\)?$", (ROOT / "constraints" / "run.txt").read_text(), re.MULTILINE)
    (folder / "constraints.txt").write_text("\n".join(locked))
    words = ("install", "--python", sys.executable, f"--pip-args=--constraint={folder}/constraints.txt", wheel)
    run(folder / "own" / "bin" / "pipx", *words, **env)
    return folder / "pipx_bin_dir" / "labctl"


@pytest.fixture
def path_without_ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who called labctl by its path: its environment's programs are not in PATH."""
    folders = [folder for folder in os.get_exec_path() if not Path(folder, "ansible-playbook").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))


@pytest.fixture
def lab(by_pipx: Path, home: Path, tmp_path: Path, path_without_ansible: None) -> Iterator[Cli]:
    cli = Cli(f"w-{os.getpid()}", home, tmp_path, program=by_pipx)
    yield cli
    cli("down")
    assert cli.containers() == []


@pytest.mark.slow  # installs every library twice
@pytest.mark.parametrize("way", ["by_pip", "by_pipx"])
def test_an_installed_labctl_needs_no_checkout(
    way: str, request: pytest.FixtureRequest, home: Path, tmp_path: Path, path_without_ansible: None
) -> None:
    program: Path = request.getfixturevalue(way)

    def labctl(*words: str, codes: tuple[int, ...] = (0,)) -> str:
        env = {**os.environ, "LABCTL_HOME": str(home)}
        done = subprocess.run([program, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    assert "0.1.0" in labctl("--version")
    assert json.loads(labctl("config", "schema"))["title"] == "LabConfig"
    doctor = json.loads(labctl("doctor", "--output", "json", codes=(0, PrerequisiteError.exit_code)))
    assert {check["name"]: check["ok"] for check in doctor["checks"]}["bundle"]
    assert "NODE-001" in labctl("verify", "--list")
    assert "_labctl_completion" in labctl("completion", "bash")
    playbooks = Path(json.loads(labctl("version", "--output", "json"))["playbooks"])
    assert playbooks.is_relative_to(program.resolve().parents[1])
    assert (playbooks / "up.yml").is_file()
    # The name of the bundle's folder is a hash of all Go sources: they are there, unchanged.
    found = bundle.find(DEFAULT_KUBERNETES)
    assert found is not None
    assert labctl("bundle", "show", "--path").strip() == str(found.path)
    assert not list(tmp_path.iterdir()), "it wrote into the current folder"


def test_an_installed_labctl_brings_a_lab_up_and_kills_a_worker(lab: Cli) -> None:
    result = lab.json("up", "--timing", "drill")
    assert [node["ready"] for node in result["nodes"]] == [True] * 3
    assert "Hello World" in lab("up", "--timing", "drill")
    assert lab.json("drill", "worker-poweroff")["verdict"] == "pass"
