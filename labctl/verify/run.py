"""Runs the checks: pytest as a process of its own for the nodes and one for the cluster, both at once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labctl import paths, process, state
from labctl.errors import LabError, StateError, UsageError, command_for
from labctl.process import CommandError
from labctl.verify.declare import Check
from labctl.verify.model import CLUSTER, Report, Result

OnResult = Callable[[Result], None]
_FAILURES, _NO_CHECKS = 1, 5


@dataclass(frozen=True)
class Choice:
    """Which checks: `only` these numbers (patterns as in CIS-1.*), not those of `skip` (number, reason); `deep` too."""

    only: tuple[str, ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    deep: bool = False

    def words(self) -> list[str]:
        """As options of pytest."""
        only = [f"--labctl-only={number}" for number in self.only]
        skip = [f"--labctl-skip={number}={reason}" for number, reason in self.skip]
        return [*only, *skip, *(["--labctl-deep"] if self.deep else [])]


@dataclass(frozen=True)
class Target:
    """What is verified: the machines of an Ansible inventory.

    `kubernetes` is the version, where it is known; `control` the folder of its SSH control sockets.
    """

    name: str
    inventory: Path
    kubernetes: str = ""
    control: Path | None = None

    @classmethod
    def lab(cls, name: str) -> Target:
        """A lab of labctl's. Raises `UsageError` if there is none, `StateError` if it was not finished."""
        record, inventory = state.get(name), paths.LabPaths(name).inventory
        if not inventory.exists():
            raise StateError(f"the lab {name} was not finished", f"{command_for(name, 'up')} takes it up again")
        return cls(name, inventory, record.config.kubernetes, paths.ssh_control(paths.LabPaths(name).folder))


def verify(target: Target, choice: Choice | None = None, on_result: OnResult = lambda _: None) -> Report:
    """Run the checks of `choice` (default: the quick set); `on_result` hears of each as it comes.

    Raises `LabError` if pytest itself fails, `UsageError` if no check has such a number.
    """
    choice = choice or Choice()
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    results: list[Result] = []

    def take(line: str) -> None:
        result = Result.model_validate_json(line)
        results.append(result)
        on_result(result)

    if target.control:
        target.control.mkdir(parents=True, exist_ok=True, mode=0o700)
    words = [*choice.words(), "--hosts=ansible://all", f"--ansible-inventory={target.inventory}"]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda folder: _pytest(folder, words, take), paths.checks()))
    if not results:
        raise UsageError(f"no check is numbered {' or '.join(choice.only)}", "labctl verify --list")
    seconds = round(time.monotonic() - began, 1)
    ordered = sorted(results, key=lambda result: (_number(result.id), result.subject != CLUSTER, result.subject))
    return Report(
        lab=target.name,
        started=started,
        seconds=seconds,
        kubernetes=target.kubernetes,
        deep=choice.deep,
        results=ordered,
    )


def catalogue() -> list[Check]:
    """All checks there are, by number."""
    found: list[Check] = []
    for folder in paths.checks():
        _pytest(folder, ["--collect-only"], lambda line: found.append(Check(**json.loads(line))))
    return sorted(dict.fromkeys(found), key=lambda check: _number(check.id))


def _number(check: str) -> tuple[str, tuple[int, ...]]:
    kind, _, number = check.partition("-")
    return kind, tuple(int(part) for part in number.split("."))


def _pytest(folder: Path, words: list[str], on_json: Callable[[str], None]) -> None:
    """Run pytest on `folder`, outside of any project's settings, and hand over the JSON that it prints."""
    own = [
        "--rootdir",
        folder,
        "-c",
        os.devnull,
        "--import-mode=importlib",
        "--strict-markers",
        "-p",
        "no:cacheprovider",
    ]
    argv = [sys.executable, "-m", "pytest", *own, "-p", "no:terminal", "--labctl-json", *words, folder]
    # testinfra calls ansible-inventory, which is beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {"ANSIBLE_CONFIG": str(paths.ansible_config()), "PATH": path}
    noise: list[str] = []

    def on_line(line: str) -> None:
        (on_json if line.startswith("{") else noise.append)(line)

    try:
        process.stream([str(word) for word in argv], on_line=on_line, env=env)
    except CommandError as error:
        # Without a choice each folder has checks: none is no success.
        is_chosen = any(str(word).startswith("--labctl-only") for word in words)
        if error.done.code != _FAILURES and not (is_chosen and error.done.code == _NO_CHECKS):
            text = "\n".join(noise[-20:])
            raise LabError(f"pytest on {folder} ended with {error.done.code}:\n{text}", "labctl logs") from error
