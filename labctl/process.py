"""The only place that starts another program (Ansible has its own, in `labctl.ansible`)."""

from __future__ import annotations

import locale
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import TimeoutExpired as TimeoutExpired  # noqa: PLC0414 (re-exported)

import psutil

from labctl.errors import LabError, PrerequisiteError

_KILLED = (-9, 137)
_LOCALES = ("C.UTF-8", "en_US.UTF-8")


@dataclass(frozen=True)
class Completed:
    """A finished command: `argv`, exit `code`, decoded `stdout` and `stderr`."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


class CommandError(LabError):
    """A command ended with another exit code than 0; it can be pasted into a shell."""

    def __init__(self, done: Completed) -> None:
        tail = (done.stderr.strip() or done.stdout.strip() or "(no output)")[-2000:]
        # Nobody but the kernel kills with 9 unasked: as a rule for want of memory.
        end = "was killed (out of memory?)" if done.code in _KILLED else f"ended with exit code {done.code}"
        super().__init__(f"{shlex.join(done.argv)} {end}:\n{tail}")
        self.done = done


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    stdin: str | Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Completed:
    """Run `argv` without a shell and wait for it.

    `stdin` is text, or a file to read; `env` is added to the present environment.
    Raises `PrerequisiteError` if the program is not there, `CommandError` if it fails and `check` is set,
    `TimeoutExpired` after `timeout_s`.
    """
    words = tuple(str(word) for word in argv)
    with nullcontext() if isinstance(stdin, str) else Path(stdin or os.devnull).open("rb") as file:
        try:
            done = subprocess.run(
                words,
                input=stdin if isinstance(stdin, str) else None,
                stdin=file,
                cwd=cwd,
                env={**os.environ, **env} if env else None,
                timeout=timeout_s,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise _cannot_start(words[0], error) from error
    result = Completed(words, done.returncode, done.stdout, done.stderr)
    if check and result.code != 0:
        raise CommandError(result)
    return result


def run_whole(argv: Sequence[str | Path], *, check: bool = True) -> Completed:
    """As `run`, for a short command that must not be cut in two: a Ctrl-C waits for its end, and is raised then.

    The command is in a process group of its own, for a terminal sends Ctrl-C to all of a group.
    """
    words = tuple(str(word) for word in argv)
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise _cannot_start(words[0], error) from error
    interruption: KeyboardInterrupt | None = None
    while True:
        try:
            stdout, stderr = child.communicate()
            break
        except KeyboardInterrupt as error:
            interruption = error
    if interruption:
        raise interruption
    result = Completed(words, child.returncode, stdout, stderr)
    if check and result.code != 0:
        raise CommandError(result)
    return result


def _cannot_start(program: str, error: OSError) -> PrerequisiteError:
    return PrerequisiteError(
        f"the program {program} cannot be started: {error.strerror}", "labctl doctor says which package has it"
    )


def attach(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
    """Run `argv` on this terminal and return its exit code."""
    words = [str(word) for word in argv]
    return subprocess.run(words, env={**os.environ, **env} if env else None, check=False).returncode


def companion(argv: Sequence[str]) -> str:
    """Start `argv`, which lives until its input ends: as long as this process. Returns the first line that it says.

    A Ctrl-C on this terminal does not reach it.
    """
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    _companions.append(child)
    assert child.stdout is not None
    return child.stdout.readline().strip()


_companions: list[subprocess.Popen[str]] = []


class Dialogue:
    """A program that answers each line that it is given with a line."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by `close`)
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, errors="replace"
        )

    def ask(self, line: str) -> None:
        """Hand `line` over; the answer is fetched by `answer`, in order."""
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # `answer` says why
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()

    def answer(self) -> str:
        """The next answer. Raises `EOFError`, with what the program said last, if it has ended."""
        assert self._child.stdout is not None
        answer = self._child.stdout.readline()
        if not answer.endswith("\n"):
            self._child.wait()
            self._said.seek(0)
            lines = self._said.read().strip().splitlines()
            raise EOFError(lines[-1] if lines else "no reason was given")
        return answer

    def close(self) -> None:
        """End its input, and so the program. Idempotent."""
        with suppress(BrokenPipeError):
            self._child.communicate()
        self._said.close()


@cache
def utf8() -> str:
    """The locale for Ansible, which starts in none that is not UTF-8 or not installed: Linux' own, or macOS'."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        for name in _LOCALES:
            with suppress(locale.Error):
                return locale.setlocale(locale.LC_ALL, name)
        return _LOCALES[0]
    finally:
        locale.setlocale(locale.LC_ALL, before)


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that ended but that nobody has reaped (in a container without an init) does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def has(program: str) -> bool:
    """Whether `program` is found in PATH."""
    return shutil.which(program) is not None


class Children:
    """Programs that `stream` runs at once, in threads. A terminal's Ctrl-C does not reach them; `interrupt` does."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[str]] = []
        self._is_interrupted = False
        self._lock = threading.Lock()

    def add(self, child: subprocess.Popen[str]) -> None:
        """Take in what has just started."""
        with self._lock:
            self._running.append(child)
            if self._is_interrupted:
                child.send_signal(signal.SIGINT)

    def interrupt(self) -> None:
        """Tell each, once, that it is to clean up and end."""
        with self._lock:
            self._is_interrupted = True
            for child in self._running:
                child.send_signal(signal.SIGINT)


def stream(
    argv: Sequence[str | Path],
    *,
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    children: Children | None = None,
) -> None:
    """Run `argv` and call `on_line` with each line of its output (stdout and stderr in one), while it runs.

    `env` is added to the present environment. If `on_line` raises, or on an interruption, the program is ended.
    Raises as `run` does; the error has the last lines.
    """
    words = tuple(str(word) for word in argv)
    last: deque[str] = deque(maxlen=40)
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            text=True,
            errors="replace",
            process_group=None if children is None else 0,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise _cannot_start(words[0], error) from error
    if children:
        children.add(child)
    with child:
        try:
            for line in child.stdout or ():
                last.append(line.rstrip("\n"))
                on_line(last[-1])
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0:
        raise CommandError(Completed(words, child.returncode, "\n".join(last), ""))
