"""Runs the checks: pytest, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labctl import paths, process, state
from labctl.errors import LabError, UsageError, command_for
from labctl.process import CommandError
from labctl.verify.declare import Check, is_called
from labctl.verify.model import CLUSTER, Report, Result
from labctl.verify.target import Target

OnResult = Callable[[Result], None]
_FAILURES, _NO_CHECKS = 1, 5
_COMMANDS = re.compile(r"\blabctl (up|status|recover|kubectl|logs|ssh|verify)\b")


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


def verify(
    target: Target,
    choice: Choice | None = None,
    on_result: OnResult = lambda _: None,
    on_interruption: Callable[[], None] = lambda: None,
    children: process.Children | None = None,
) -> Report:
    """Run the checks of `choice` (default: the quick set); `on_result` hears of each as it comes.

    An interruption reaches each pytest once, and waits, after `on_interruption`, until they have cleaned up; whoever
    hands `children` in can interrupt them too.
    Raises `StateError` if deep checks are asked for while another command is at work on the lab, `LabError` if pytest
    itself fails, `UsageError` if no check has such a number, or none is for these machines.
    """
    choice = choice or Choice()
    checks = chosen(choice) if choice.only or choice.skip else []
    is_deep = choice.deep or any(check.deep and check.id in choice.only for check in checks)
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    results: list[Result] = []

    def take(line: str) -> None:
        result = Result.model_validate_json(line)
        result = result.model_copy(update={"fix": _for_lab(result.fix, target)})
        results.append(result)
        on_result(result)

    if target.control:
        state.make_private(target.control)
    words = [*choice.words(), "--hosts=ansible://all", f"--ansible-inventory={target.inventory}"]
    # Deep checks make pods, of which there can be one set at a time.
    with state.lock(target.name) if is_deep and target.is_lab else nullcontext():
        _pytest(words, take, on_interruption, children)
    if not results:
        raise UsageError(f"nothing to look at: no machine here is one for {' or '.join(choice.only)}")
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


@contextmanager
def ahead(target: Target | None) -> Iterator[Callable[[], Report | None]]:
    """Run the quick set beside something else; whoever leaves ends it.

    What is handed out waits for the report. It is None, for the set is to be run once more, unless all was well and
    the inventory is still the same; and without a target.
    """
    if target is None:
        yield lambda: None
        return
    children, inventory = process.Children(), target.inventory.read_text(encoding="utf-8")
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(verify, target, children=children)

        def report() -> Report | None:
            try:
                found = running.result()
            except LabError:
                return None
            is_same = inventory == target.inventory.read_text(encoding="utf-8")
            return found if is_same and not found.broken else None

        try:
            yield report
        finally:
            children.interrupt()


def _for_lab(fix: str, target: Target) -> str:
    """The remedy with the lab in its commands."""
    return _COMMANDS.sub(lambda found: command_for(target.name, found[1]), fix) if target.is_lab else fix


def catalogue() -> list[Check]:
    """All checks there are, by number."""
    found: list[Check] = []
    _pytest(["--collect-only"], lambda line: found.append(Check(**json.loads(line))))
    return sorted(dict.fromkeys(found), key=lambda check: _number(check.id))


def chosen(choice: Choice) -> list[Check]:
    """The checks of `choice`, deep ones too. Raises `UsageError` if it has a number that no check has."""
    checks = catalogue()
    skipped = [number for number, _ in choice.skip]
    unknown = [word for word in (*choice.only, *skipped) if not any(is_called(check, word) for check in checks)]
    if unknown:
        raise UsageError(f"no check is numbered {' or '.join(map(repr, unknown))}", "labctl verify --list")
    wanted = [check for check in checks if not choice.only or any(is_called(check, word) for word in choice.only)]
    return [check for check in wanted if not any(is_called(check, word) for word in skipped)]


def _number(check: str) -> tuple[str, tuple[int, ...]]:
    kind, _, number = check.partition("-")
    return kind, tuple(int(part) for part in number.split("."))


def _pytest(
    words: list[str],
    on_json: Callable[[str], None],
    on_interruption: Callable[[], None] = lambda: None,
    children: process.Children | None = None,
) -> None:
    """Run pytest on all folders of checks, outside of any project's settings, and hand over the JSON that it prints."""
    children = children or process.Children()
    # In a thread, for an interruption must not cut pytest off.
    with ThreadPoolExecutor(max_workers=1) as pool:
        run = pool.submit(_stream, paths.checks(), words, on_json, children)
        try:
            run.result()
        except BaseException:
            if not run.done():
                children.interrupt()
                on_interruption()
            raise


def _stream(folders: list[Path], words: list[str], on_json: Callable[[str], None], children: process.Children) -> None:
    alone = [f"--rootdir={folders[0]}", f"--confcutdir={folders[0]}", "-c", os.devnull, "-p", "no:cacheprovider"]
    plugins = ["-p", "testinfra.plugin", "-p", "labctl.verify.plugin", "-p", "no:terminal"]
    # Checks say what they saw; pytest's own way with `assert` only costs half a second.
    ways = ["--import-mode=importlib", "--strict-markers", "--assert=plain", "--labctl-json"]
    argv = [sys.executable, "-m", "pytest", *alone, *plugins, *ways, *words, *folders]
    # testinfra calls ansible-inventory, which is beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {
        "ANSIBLE_CONFIG": str(paths.ansible_config()),
        "LC_ALL": process.utf8(),
        "PATH": path,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    noise: list[str] = []

    def on_line(line: str) -> None:
        (on_json if line.startswith("{") else noise.append)(line)

    try:
        process.stream([str(word) for word in argv], on_line=on_line, env=env, children=children)
    except CommandError as error:
        # Without a choice there are checks: none is no success.
        is_chosen = any(str(word).startswith("--labctl-only") for word in words)
        if error.done.code != _FAILURES and not (is_chosen and error.done.code == _NO_CHECKS):
            text = "\n".join(noise[-20:])
            raise LabError(f"pytest ended with {error.done.code}:\n{text}", "labctl logs") from error
