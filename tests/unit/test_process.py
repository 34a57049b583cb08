import locale
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labctl import process
from labctl.errors import PrerequisiteError


def test_a_failed_command_can_be_pasted_and_says_why() -> None:
    with pytest.raises(process.CommandError) as caught:
        process.run([sys.executable, "-c", "import sys; print('the reason', file=sys.stderr); sys.exit(3)"])
    assert "the reason" in caught.value.message
    assert "exit code 3" in caught.value.message
    assert caught.value.done.code == 3


def test_a_missing_program_is_a_prerequisite() -> None:
    with pytest.raises(PrerequisiteError, match="no-such-program"):
        process.run(["no-such-program"])


def test_nothing_waits_for_a_terminal() -> None:
    assert process.run([sys.executable, "-c", "import sys; print(sys.stdin.read())"]).stdout == "\n"


def test_a_whole_command_ends_before_the_interruption_is_raised(tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    os.mkfifo(begun)

    def interrupt() -> None:
        begun.read_text()  # until the child has begun
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    script = f"echo > {begun}; sleep 0.5; echo > {ended}"
    with pytest.raises(KeyboardInterrupt):
        process.run_whole(["sh", "-c", script])
    thread.join()
    assert ended.exists()


def test_a_whole_command_is_out_of_reach_of_the_terminals_ctrl_c() -> None:
    group = process.run_whole(["sh", "-c", "ps -o pgid= -p $$"]).stdout.strip()
    assert int(group) != os.getpgrp()


def test_a_whole_command_that_fails_says_why_unless_that_is_asked_for() -> None:
    words = ["sh", "-c", "echo out; echo the reason >&2; exit 3"]
    with pytest.raises(process.CommandError, match="the reason"):
        process.run_whole(words)
    done = process.run_whole(words, check=False)
    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "the reason\n")
    with pytest.raises(PrerequisiteError, match="no-such-program"):
        process.run_whole(["no-such-program"])


def test_a_dialogue_is_questions_and_answers_in_order() -> None:
    program = process.Dialogue(["sh", "-c", "read a; read b; echo $b$a; echo second; echo the reason >&2; exit 1"])
    for line in ("one", "two", "three"):
        program.ask(line)
    assert [program.answer(), program.answer()] == ["twoone\n", "second\n"]
    with pytest.raises(EOFError, match="the reason"):
        program.answer()
    program.ask("nobody hears it")
    for _ in range(2):
        program.close()


def test_a_process_that_ended_is_dead_though_nobody_reaped_it() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert process.is_alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended, and is still in the table
    assert not process.is_alive(child.pid)
    child.communicate()
    assert not process.is_alive(child.pid)


def test_a_locale_that_the_system_has_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no C.UTF-8."""
    set_before: list[str | None] = []

    def setlocale(_category: int, name: str | None = None) -> str:
        set_before.append(name)
        if name == "C.UTF-8":
            raise locale.Error("unsupported locale setting")
        return name or "de_DE"

    monkeypatch.setattr("locale.setlocale", setlocale)
    process.utf8.cache_clear()
    assert process.utf8() == "en_US.UTF-8"
    assert set_before[-1] == "de_DE", "as it was before"
    process.utf8.cache_clear()
