"""labctl's commands. This file finds them and is the only place where an error becomes words and an exit code."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, NoReturn

import click

from labctl.cli import exhausted, manual
from labctl.errors import DEFAULT_LAB, EXIT_BUG, EXIT_INTERRUPTED, LabError, StateError, command_for

COMMANDS = {
    "up": "labctl.cli.up",
    "status": "labctl.cli.status",
    "verify": "labctl.cli.verify",
    "stop": "labctl.cli.stop",
    "start": "labctl.cli.start",
    "image": "labctl.cli.image",
    "drill": "labctl.cli.drill",
    "recover": "labctl.cli.recover",
    "report": "labctl.cli.report",
    "down": "labctl.cli.down",
    "kubectl": "labctl.cli.kubectl",
    "kubeconfig": "labctl.cli.kubeconfig",
    "inventory": "labctl.cli.inventory",
    "ssh": "labctl.cli.ssh",
    "logs": "labctl.cli.logs",
    "doctor": "labctl.cli.doctor",
    "bundle": "labctl.cli.bundle",
    "config": "labctl.cli.config",
    "completion": "labctl.cli.completion",
    "version": "labctl.cli.version",
}
_WITHOUT_MACHINES = {"report", "kubeconfig", "inventory", "bundle", "config", "completion", "version"}
_HEADINGS = {
    "A lab": ("up", "status", "verify", "stop", "start", "down"),
    "What happens when machines die": ("drill", "recover", "report"),
    "In the lab": ("kubectl", "kubeconfig", "inventory", "ssh", "image", "logs"),
    "This machine": ("doctor", "bundle", "config", "completion", "version"),
}


class _Commands(click.Group):
    """Imports a command's module when it is called: `labctl version` need not load Ansible and Kubernetes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        manual.write_commands(self, ctx, formatter, _HEADINGS)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="labctl")
def cli() -> None:
    """A Kubernetes lab on your own machine: bring it up, kill its nodes, watch it heal.

    \b
    Examples:
      labctl up                       one control plane, two workers, a Hello World page
      labctl drill worker-poweroff    kill a worker; measured against what was predicted
      labctl down                     remove everything again

    Exit codes: 0 ok, 1 drill or check failed, 2 usage or configuration, 3 drill without evidence,
    4 something is missing here, 5 the engine or another program, 6 playbook, 7 timed out, 8 state, 70 bug,
    130 interrupted (Ctrl-C or SIGTERM).

    Environment: LABCTL_HOME and XDG_CACHE_HOME say where state and cache are.
    """


def main() -> NoReturn:
    """The `labctl` program."""
    # A pipe that closes early (labctl status | head) ends the program quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # As a Ctrl-C: a drill heals, and a short command of the engine is not cut in two.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:  # noqa: PLR0911 (one return for each kind of end)
    """Run one command line; returns its exit code."""
    try:
        _without_root(arguments)
        code: Any = cli.main(args=arguments, prog_name="labctl", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say(f"interrupted. {_after_interruption(arguments)}")
        return EXIT_INTERRUPTED
    except LabError as error:
        _say(error.message)
        _hint(exhausted.hint_in(error.message))
        _hint(error.hint)
        return error.exit_code
    except OSError as error:
        # A full disk, a folder that may not be written, a file where a folder should be: not labctl's bug.
        _say(f"{error.filename or 'this host'}: {error.strerror or error}")
        _hint(exhausted.hint_of(error))
        return StateError.exit_code
    except Exception as error:  # noqa: BLE001 (the last boundary)
        hint = exhausted.hint_in("out of memory" if isinstance(error, MemoryError) else str(error))
        if not hint:
            return _bug()
        _say(str(error) or "out of memory")
        _hint(hint)
        return LabError.exit_code
    return code if isinstance(code, int) else 0


def _after_interruption(arguments: list[str]) -> str:
    match arguments[:1]:
        case ["drill"]:
            return f"{command_for(_lab_in(arguments), 'recover')} undoes what is left of the drill."
        case ["verify"]:
            return "The same command begins anew."
    return "The same command goes on from here."


def _lab_in(arguments: list[str]) -> str:
    """The lab that the command line names; one that labctl.yml names need not be said."""
    return _option(arguments, "--lab") or DEFAULT_LAB


def _option(arguments: list[str], name: str) -> str | None:
    words = " ".join(arguments).partition(" -- ")[0].replace(f"{name}=", f"{name} ").split()
    return dict(itertools.pairwise(words)).get(name)


def _without_root(arguments: list[str]) -> None:
    """Go to where machines are without root. Where that cannot be, the command itself says why, or does without."""
    if not {*arguments[:1]} & (COMMANDS.keys() - _WITHOUT_MACHINES) or "--help" in arguments:
        return
    from labctl.providers import rootless  # noqa: PLC0415 (not every command needs it)

    rootless.join_network()
    if os.geteuid() != 0 and (engine := _engine_in(arguments)) not in ("hosts", "vagrant"):
        rootless.enter(engine, arguments)


def _engine_in(arguments: list[str]) -> str:
    """The provider that the command line, labctl.yml or the lab's record asks for, or ``auto``."""
    from labctl import config, state  # noqa: PLC0415 (not every command needs them)

    with suppress(LabError):
        asked = config.load(None, {"name": _option(arguments, "--lab"), "provider": _option(arguments, "--provider")})
        record = state.find(asked.name) if asked.provider == "auto" else None
        return record.config.provider if record else asked.provider
    return "auto"


def _say(text: str) -> None:
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(("\033[31merror:\033[0m " if colour else "error: ") + text, file=sys.stderr)


def _hint(text: str) -> None:
    if text:
        print(f"  → {text}", file=sys.stderr)


def _bug() -> int:
    text = f"{datetime.now(UTC).isoformat()} labctl {' '.join(sys.argv[1:])}\n{traceback.format_exc()}"
    try:
        from labctl import paths  # noqa: PLC0415 (it may be what failed)

        folder = paths.home()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / "bug.txt"
        file.write_text(text, encoding="utf-8")
        where = f"the traceback is in {file}"
    except OSError:
        where = text
    last = traceback.format_exc().strip().splitlines()[-1]
    _say(f"this is a bug in labctl: {last}")
    logs = command_for(_lab_in(sys.argv[1:]), "logs")
    print(f"  → please report it with the output of {logs}; {where}", file=sys.stderr)
    return EXIT_BUG


if __name__ == "__main__":
    main()
