"""Every error that labctl shows to a person, the exit code that goes with it, and how a hint names a command.

::

    LabError                 5   a program or an API that labctl uses refused
    ├── CheckError           1   a lab is not what it should be
    ├── UsageError           2   arguments or configuration
    ├── InconclusiveError    3   a drill without evidence
    ├── PrerequisiteError    4   something is missing on this machine
    ├── ProviderError        5   the container engine (later: libvirt, a host) refused
    ├── PlaybookError        6   an Ansible task failed
    ├── TimedOutError        7   something did not happen in time
    └── StateError           8   locked, or written by a newer labctl

1 is a drill that failed, too: its verdict sets the code, no exception. 70 is a bug in labctl and 130 an
interruption, by Ctrl-C or SIGTERM; both are set by ``labctl.cli`` alone.
"""

from __future__ import annotations

DEFAULT_LAB = "lab"
EXIT_OK = 0
EXIT_DRILL_FAILED = 1
EXIT_CHECKS_FAILED = 1
EXIT_INCONCLUSIVE = 3
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def command_for(lab: str, verb: str, rest: str = "") -> str:
    """The command to type for `lab`: ``labctl status``, or ``labctl status --lab two``, then `rest`."""
    option = "" if lab == DEFAULT_LAB else f" --lab {lab}"
    return f"labctl {verb}{option} {rest}".rstrip()


class LabError(Exception):
    """What went wrong, where, and (`hint`) the next command."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckError(LabError):
    """A lab was brought up, and fails a check of `labctl verify`."""

    exit_code = 1


class UsageError(LabError):
    """Arguments or configuration that cannot work."""

    exit_code = 2


class InconclusiveError(LabError):
    """A drill could not be started or judged on evidence."""

    exit_code = 3


class PrerequisiteError(LabError):
    """A program, a permission or a kernel feature is missing."""

    exit_code = 4


class ProviderError(LabError):
    """The provider could not make, switch or remove a machine."""

    exit_code = 5


class PlaybookError(LabError):
    """A playbook failed; the message names host, task and log."""

    exit_code = 6


class TimedOutError(LabError):
    """Waited for something; the message says for what, how long and what was seen last."""

    exit_code = 7


class StateError(LabError):
    """The lab's record is locked, unreadable or from a newer labctl."""

    exit_code = 8
