import sys

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
