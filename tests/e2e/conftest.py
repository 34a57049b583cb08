"""Real labs. They live in a LABCTL_HOME of their own and are taken down whatever fails; the cache is the user's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from labctl import paths

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
LABCTL = Path(sys.executable).parent / "labctl"


@dataclass
class Cli:
    """labctl as a user calls it, on one lab."""

    lab: str
    home: Path
    cwd: Path
    more: dict[str, str] = field(default_factory=dict)
    """Environment beside the usual."""
    engine: str = "podman"
    program: Path = LABCTL
    last: subprocess.CompletedProcess[str] | None = field(default=None, repr=False)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "LABCTL_HOME": str(self.home), **self.more}

    def argv(self, command: str, *words: str) -> list[str]:
        return [str(self.program), *command.split(), "--lab", self.lab, *words]

    def __call__(self, command: str, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.argv(command, *words), env=self.env, cwd=self.cwd, capture_output=True, text=True, check=False
        )
        self.last = done
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def json(self, command: str, *words: str, code: int = 0) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self(command, *words, "--output", "json", code=code))
        schema = SCHEMAS / f"{result.get('schema', command).removeprefix('labctl.').partition('/')[0]}.json"
        if schema.exists():
            validate(result, json.loads(schema.read_text()))
        return result

    def kubectl(self, *words: str, code: int = 0) -> str:
        return self("kubectl", "--", *words, code=code)

    def ask_engine(self, *words: str) -> str:
        return subprocess.run([self.engine, *words], env=self.env, capture_output=True, text=True, check=True).stdout

    def containers(self) -> list[str]:
        mine = f"label=labctl.lab={self.lab}"
        return self.ask_engine("ps", "-a", "--filter", mine, "--format", "{{.Names}}").split()

    def gone(self) -> None:
        """Take the lab down and look whether anything of it is left."""
        self("down")
        assert self.containers() == []
        assert f"labctl-{self.lab}" not in self.ask_engine("network", "ls", "--format", "{{.Name}}").split()
        assert not (self.home / "labs" / self.lab).exists()


@contextmanager
def taken_down(cli: Cli) -> Iterator[Cli]:
    """`cli`, whose lab is gone at the end, even if it never came up."""
    try:
        yield cli
    finally:
        cli.gone()


def podman(*words: str) -> str:
    return subprocess.run(["podman", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def disk(home: Path) -> Iterator[Callable[..., Path]]:
    """Makes file systems of a given size, each mounted until the end of the test."""
    mounted: list[Path] = []

    def make(mib: int, *options: str) -> Path:
        image = home / f"disk-{len(mounted)}.img"
        with image.open("wb") as file:
            file.truncate(mib * 1024**2)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        folder = home / f"disk-{len(mounted)}"
        folder.mkdir()
        subprocess.run(["mount", "-o", ",".join(["loop", *options]), str(image), str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        folder.with_suffix(".img").unlink()


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Beside the cache, for machines share files with it by hard links."""
    folder = paths.cache() / f"e2e-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lab(home: Path) -> Iterator[Cli]:
    """One control plane and two workers that notice a dead machine soon; shared by all tests."""
    with taken_down(Cli(f"t-{os.getpid()}", home, home)) as cli:
        cli.json("up", "--timing", "drill", "--provider", "podman")
        yield cli


@pytest.fixture
def other(home: Path) -> Iterator[Cli]:
    """A lab that is not up yet, beside the shared one."""
    with taken_down(Cli(f"o-{os.getpid()}", home, home)) as cli:
        yield cli
