"""A shell on a machine that stays open: what a session of SSH costs is paid once, not by every command."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from testinfra.backend.base import CommandResult
from testinfra.backend.ssh import SshBackend
from testinfra.host import Host

from labctl import marker, process

# A shell of the user's own may say something before each command; this one reads no file first.
_THERE = """
import json, subprocess, sys
for line in sys.stdin:
    argv = ["/bin/sh", "-c", json.loads(line)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)
    words = [text.decode("utf-8", "replace") for text in (done.stdout, done.stderr)]
    print(sys.argv[1] + json.dumps([done.returncode, *words]), flush=True)
"""
"""Each answer has the session's marker before it: the user's shell may have said something."""

_LOCAL_FIRST = 'PATH="/usr/local/sbin:/usr/local/bin:$PATH"; '
"""sudo may not look where labctl's programs are, as Red Hat's does not (secure_path, sudoers(5))."""


@dataclass
class Shell:
    """Runs commands on `host`, one after another: in one session if SSH leads there, else by testinfra's own way."""

    host: Host
    _there: process.Dialogue | None = field(default=None, repr=False)
    _marker: str = field(default_factory=marker.new, repr=False)
    _asked: list[str] = field(default_factory=list, repr=False)
    _told: dict[str, CommandResult] = field(default_factory=dict, repr=False)

    def begin(self, commands: Iterable[str]) -> None:
        """Have commands run that will be asked for, while others are waited for; each answer serves once."""
        ssh = self._ssh()
        if ssh is not None:
            for command in commands:
                self._ask(ssh, ssh.get_command(_LOCAL_FIRST + command))

    def run(self, command: str, *words: str) -> CommandResult:
        """What came of `command`, %s in it standing for `words`, quoted. Raises `RuntimeError` if there is no way."""
        ssh = self._ssh()
        if ssh is None:
            return heard(self.host, _LOCAL_FIRST + command, *words)
        text = ssh.get_command(_LOCAL_FIRST + command, *words)
        if text not in self._told and text not in self._asked:
            self._ask(ssh, text)
        while text not in self._told:
            first = self._asked.pop(0)
            self._told[first] = self._answer(ssh, first)
        return self._told.pop(text)

    def _ask(self, ssh: SshBackend, text: str) -> None:
        if self._there is None:
            program = ssh.quote("python3 -c %s %s", _THERE, self._marker)
            self._there = process.Dialogue(["sh", "-c", f"exec {_call(ssh, program)}"])
        self._there.ask(json.dumps(text))
        self._asked.append(text)

    def _answer(self, ssh: SshBackend, text: str) -> CommandResult:
        assert self._there is not None
        try:
            answer = ""
            while not answer:
                answer = self._there.answer().partition(self._marker)[2]
        except EOFError as error:
            self.close()
            raise RuntimeError(str(error)) from error
        code, stdout, stderr = json.loads(answer)
        return ssh.result(code, text.encode(), stdout, stderr)

    def close(self) -> None:
        """End the session. Idempotent."""
        self._asked.clear()
        if self._there is not None:
            self._there.close()
            self._there = None

    def _ssh(self) -> SshBackend | None:
        """The way that testinfra found to the machine in Ansible's inventory, if it is one of SSH's."""
        backend = self.host.backend
        if backend.get_connection_type() == "ansible" and not backend.force_ansible:
            options = {"ssh_config": backend.ssh_config, "ssh_identity_file": backend.ssh_identity_file}
            inner = backend.ansible_runner.get_host(backend.host, **options)
            backend = inner.backend if inner else backend
        return backend if type(backend) is SshBackend else None


def heard(host: Host, command: str, *words: str) -> CommandResult:
    """As `host.run`, without what the user's shell says first; in UTF-8, for testinfra asks that shell for its coding.

    Raises `RuntimeError` if there is no way.
    """
    begins = marker.new()
    done = host.run(f"echo {begins}; {command}", *words)
    stdout, stderr = (text.decode("utf-8", "replace") for text in (done.stdout_bytes, done.stderr_bytes))
    return replace(done, _stdout=marker.after(begins, stdout), _stderr=stderr)


def _call(ssh: SshBackend, command: str) -> str:
    """The shell's words that run `command` there: testinfra knows them all, but tells none."""
    words, values = ssh._build_ssh_command(command)  # noqa: SLF001
    return str(ssh.quote(" ".join(words), *values))
