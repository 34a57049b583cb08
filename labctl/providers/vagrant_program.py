r"""The program vagrant: how it is called, and what it says with --machine-readable.

Lines of ``timestamp,target,type,data...``; in data a comma is ``%!(VAGRANT_COMMA)``, an end of line ``\n``.
https://developer.hashicorp.com/vagrant/docs/cli/machine-readable
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labctl import paths, process
from labctl.config import LabConfig
from labctl.errors import ProviderError
from labctl.state import write_file

_FIELDS = 4
_COMMA = "%!(VAGRANT_COMMA)"
_LAST_LINES = 20


@dataclass(frozen=True)
class Line:
    """What vagrant says of the machine `target`, or of nothing in particular."""

    target: str
    type: str
    data: tuple[str, ...]


def parse(text: str) -> Line | None:
    """One line of output; None if it is none of vagrant's own, such as a library's warning."""
    fields = text.rstrip("\r").split(",")
    if len(fields) < _FIELDS or not fields[0].isdecimal():
        return None
    _, target, kind, *data = fields
    return Line(target, kind, tuple(_plain(part) for part in data))


def _plain(data: str) -> str:
    return data.replace(_COMMA, ",").replace("\\n", "\n").replace("\\r", "\r")


class Vagrant:
    """vagrant on the project's Vagrantfile, for one lab: its state is among the lab's own files."""

    def __init__(self, lab: paths.LabPaths, hypervisor: str) -> None:
        self.lab = lab
        self.env = {
            "VAGRANT_CWD": str(paths.vagrantfile().parent),
            "VAGRANT_DOTFILE_PATH": str(lab.vagrant_state),
            "VAGRANT_DEFAULT_PROVIDER": hypervisor,
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "LABCTL_CONFIG": str(lab.vagrant_config),
        }

    def describe(self, config: LabConfig) -> None:
        """Write what the Vagrantfile reads. It is JSON, and so YAML."""
        keys = {"name", "control_planes", "workers", "slow_machine", "node", "nodes", "networks", "vagrant"}
        write_file(
            self.lab.vagrant_config, config.model_dump_json(include=keys, exclude_defaults=True, indent=2) + "\n"
        )

    def is_known(self, machine: str) -> bool:
        """Whether vagrant made the machine `machine`, for this lab, and did not destroy it."""
        return any(self.lab.vagrant_state.glob(f"machines/{machine}/*/id"))

    def run(self, *words: str, on_line: Callable[[Line], None] = lambda _: None) -> list[Line]:
        """Run `vagrant WORDS` and hand over each line as it comes. Raises `ProviderError` with vagrant's reason."""
        lines: list[Line] = []
        noise: list[str] = []

        def take(text: str) -> None:
            line = parse(text)
            if line is None:
                noise.append(text)
                return
            lines.append(line)
            on_line(line)

        try:
            process.stream(["vagrant", *words, "--machine-readable"], on_line=take, cwd=_somewhere(), env=self.env)
        except process.CommandError as error:
            raise ProviderError(
                f"vagrant {' '.join(words)} failed: {_reason(lines, noise)}", f"{self.by_hand()} {' '.join(words)}"
            ) from error
        return lines

    def states(self) -> dict[str, str]:
        """Of each machine of the Vagrantfile, as its hypervisor calls it: running, shutoff, not_created ..."""
        return {line.target: line.data[0] for line in self.run("status") if line.type == "state"}

    def by_hand(self) -> str:
        """What stands before vagrant in a shell, to do the same."""
        return " ".join(f"{name}={value}" for name, value in self.env.items()) + " vagrant"


def _reason(lines: list[Line], noise: list[str]) -> str:
    for line in reversed(lines):
        if line.type == "error-exit":
            return line.data[-1].strip()
    return "\n".join(noise[-_LAST_LINES:]) or "no reason was given"


def _somewhere() -> Path:
    """A folder that is there: vagrant looks into the current one."""
    return paths.vagrantfile().parent
