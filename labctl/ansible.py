"""The only import of ansible_runner: runs a playbook and turns its events into `labctl.events`.

What ansible-runner 2.4 does that is not obvious, and is handled here: an event handler must return True and be
quick (hence the queue); without a cancel callback it replaces the signal handlers for good; its private folder
serves one run.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner

from labctl import paths, process, state
from labctl.errors import PlaybookError
from labctl.events import Emit, Event, TaskFinished, TaskStarted

_OTHERS_MAY_FINISH_S = 20
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
_RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


@dataclass(frozen=True)
class PlayResult:
    """`changed` tasks over all hosts."""

    changed: int


def play(
    playbook: str,
    inventory: Path,
    run_dir: Path,
    emit: Emit,
    *,
    hosts: set[str],
    variables: Mapping[str, str] | None = None,
    control: Path,
) -> PlayResult:
    """Run `playbook` on `inventory` and wait for its end.

    `hosts` must all have been reached: ansible calls a play without hosts a success. `variables` show up in argv, so
    they hold no secret. `control` is the folder of SSH control sockets. Raises `PlaybookError` and `KeyboardInterrupt`.
    """
    private = run_dir / f"ansible-{Path(playbook).stem}"
    private.mkdir(mode=0o700)
    state.make_private(control)
    failures: list[TaskFinished] = []
    failed_at: list[float] = []

    def keep(event: Event) -> None:
        if isinstance(event, TaskFinished) and event.result in ("failed", "unreachable"):
            failures.append(event)
            failed_at.append(time.monotonic())
        emit(event)

    def is_over() -> bool:
        """After a failure the other hosts may finish what they are at, but not wait for what will never come."""
        late = bool(failed_at) and time.monotonic() - failed_at[0] > _OTHERS_MAY_FINISH_S
        return interrupted.is_set() or late

    with _interruptible() as interrupted, _queued(keep) as handler:
        done = ansible_runner.run(
            private_data_dir=str(private),
            playbook=str(paths.playbook(playbook)),
            inventory=str(inventory),
            extravars=dict(variables or {}),
            envvars=_environment(),
            event_handler=handler,
            cancel_callback=is_over,
            quiet=True,
        )
    if interrupted.is_set():
        raise KeyboardInterrupt
    log = private / "artifacts" / str(done.config.ident) / "stdout"
    stats = done.stats or {}
    if done.rc != 0:
        raise _failure(playbook, done.rc, failures, log)
    missed = hosts - set(stats.get("processed", {}))
    if missed:
        raise PlaybookError(f"{playbook} did nothing on {', '.join(sorted(missed))}", f"see {log}")
    return PlayResult(changed=sum(stats.get("changed", {}).values()))


def _environment() -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(paths.ansible_config()),
        "ANSIBLE_ROLES_PATH": str(paths.roles()),
        "LC_ALL": process.utf8(),
        # Else macOS ends Ansible's workers, "a worker was found in a dead state":
        # http://sealiesoftware.com/blog/archive/2017/6/5/Objective-C_and_fork_in_macOS_1013.html
        **({"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"} if sys.platform == "darwin" else {}),
        # ansible-playbook lies beside our Python, whose environment need not be activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _failure(playbook: str, code: int, failures: list[TaskFinished], log: Path) -> PlaybookError:
    if not failures:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]) if log.exists() else ""
        return PlaybookError(f"{playbook} ended with exit code {code}:\n{tail}", f"the whole log: {log}")
    first = failures[0]
    what = "cannot be reached" if first.result == "unreachable" else "failed"
    return PlaybookError(f"{first.host}: “{first.task}” {what}:\n{first.message}", f"the whole log: {log}")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, while ansible-runner is at work in the main thread."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, lambda *_: interrupted.set()) for number in _INTERRUPTIONS}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _queued(emit: Emit) -> Iterator[Any]:
    """A handler for ansible-runner that returns at once; events reach `emit` from a thread of its own, in order.

    What `emit` raises, for instance because the disk is full, is raised here at the end.
    """
    waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    raised: list[Exception] = []

    def drain() -> None:
        while (raw := waiting.get()) is not None:
            event = _translate(raw)
            if event is None or raised:
                continue
            try:
                emit(event)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is not for this thread to tell)
                raised.append(error)

    def handler(raw: dict[str, Any]) -> bool:
        waiting.put(raw)
        return True

    thread = threading.Thread(target=drain, name="ansible-events", daemon=True)
    thread.start()
    try:
        yield handler
    finally:
        waiting.put(None)
        thread.join()
    if raised:
        raise raised[0]


def _translate(raw: dict[str, Any]) -> Event | None:
    data = raw.get("event_data", {})
    kind = raw["event"]
    if kind == "playbook_on_task_start":
        return TaskStarted(play=data.get("play", ""), task=data.get("name", ""))
    if kind not in _RESULTS or data.get("ignore_errors"):
        return None
    outcome = data.get("res") or {}
    result = _RESULTS[kind]
    if result == "ok" and outcome.get("changed"):
        result = "changed"
    return TaskFinished(
        task=data.get("task", ""),
        host=data.get("host", ""),
        result=result,
        seconds=round(data.get("duration") or 0.0, 2),
        message=_message(outcome) if result in ("failed", "unreachable") else "",
    )


def _message(outcome: dict[str, Any]) -> str:
    if outcome.get("results"):
        outcome = next((item for item in outcome["results"] if item.get("failed")), outcome)
    parts = [str(outcome.get(key, "")).strip() for key in ("msg", "stderr", "stdout")]
    return "\n".join(part[-1500:] for part in parts if part) or "no message"
