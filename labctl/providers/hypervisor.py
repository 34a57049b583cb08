"""The power switch of a virtual machine: the hypervisor's own commands, which are at once. Vagrant's take seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl import process
from labctl.config_hosts import PowerSwitch
from labctl.errors import ProviderError
from labctl.providers.base import Power, Problem

_TAKES_AT_MOST_S = 60


@dataclass(frozen=True)
class Hypervisor:
    """Its commands, with {name} for the machine's name, and how it answers."""

    name: str
    commands: PowerSwitch
    resume: tuple[str, ...]
    version: tuple[str, ...]
    state: re.Pattern[str]
    """finds the state in what commands.status prints"""
    powers: dict[str, Power]
    """what of the states is not off"""
    no_such_machine: str
    """what it says of a machine that is none of its own"""
    install: str
    start: str

    def power(self, machine: str) -> Power:
        """The switch, looked up now. Raises `ProviderError` if the hypervisor does not say."""
        words = [word.format(name=machine) for word in self.commands.status or ()]
        try:
            done = process.run(words, check=False, env={"LC_ALL": "C"}, timeout_s=_TAKES_AT_MOST_S)
        except process.TimeoutExpired as error:
            raise ProviderError(f"{' '.join(words)} gave no answer in {_TAKES_AT_MOST_S} s") from error
        if done.code != 0 and self.no_such_machine in done.stderr:
            return "gone"
        found = self.state.search(done.stdout) if done.code == 0 else None
        if found is None:
            said = (done.stderr or done.stdout).strip()[-500:]
            raise ProviderError(f"{self.name} does not say whether {machine} is on: {said}", " ".join(words))
        return self.powers.get(found[1], "off")

    def wake(self, machine: str) -> None:
        """Let a paused machine go on. Raises `ProviderError`."""
        try:
            process.run([word.format(name=machine) for word in self.resume], timeout_s=_TAKES_AT_MOST_S)
        except (process.CommandError, process.TimeoutExpired) as error:
            raise ProviderError(f"{machine} does not go on: {error}") from error

    def problems(self) -> list[Problem]:
        """Why it cannot be used here."""
        program = self.version[0]
        if not process.has(program):
            return [Problem(f"the program {program} is not installed", self.install)]
        try:
            done = process.run(self.version, check=False, env={"LC_ALL": "C"}, timeout_s=_TAKES_AT_MOST_S)
        except process.TimeoutExpired:
            return [Problem(f"{self.name} gave no answer in {_TAKES_AT_MOST_S} s", self.start)]
        said = (done.stderr or done.stdout).strip()[-300:]
        return [] if done.code == 0 else [Problem(f"{self.name} does not answer: {said}", self.start)]


_VIRSH = ("virsh", "--connect", "qemu:///system")

LIBVIRT = Hypervisor(
    name="libvirt",
    commands=PowerSwitch(
        off=(*_VIRSH, "destroy", "{name}"), on=(*_VIRSH, "start", "{name}"), status=(*_VIRSH, "domstate", "{name}")
    ),
    resume=(*_VIRSH, "resume", "{name}"),
    version=(*_VIRSH, "version"),
    state=re.compile(r"^(\S.*?)\s*$", re.MULTILINE),
    powers={"running": "on", "idle": "on", "in shutdown": "on", "paused": "paused", "pmsuspended": "paused"},
    no_such_machine="failed to get domain",
    install="sudo apt-get install vagrant-libvirt libvirt-daemon-system libvirt-clients; or hypervisor: virtualbox",
    start="sudo systemctl start libvirtd; a user must be of the group libvirt",
)
"""https://libvirt.org/manpages/virsh.html#domstate"""

VIRTUALBOX = Hypervisor(
    name="virtualbox",
    commands=PowerSwitch(
        off=("VBoxManage", "controlvm", "{name}", "poweroff"),
        on=("VBoxManage", "startvm", "{name}", "--type", "headless"),
        status=("VBoxManage", "showvminfo", "{name}", "--machinereadable"),
    ),
    resume=("VBoxManage", "controlvm", "{name}", "resume"),
    version=("VBoxManage", "--version"),
    state=re.compile(r'^VMState="(.*?)"', re.MULTILINE),
    powers={"running": "on", "starting": "on", "stopping": "on", "paused": "paused"},
    no_such_machine="Could not find a registered machine",
    install="https://www.virtualbox.org/wiki/Downloads; or hypervisor: libvirt",
    start="VBoxManage --version says more",
)
"""https://www.virtualbox.org/manual/ch08.html#vboxmanage-showvminfo"""

BY_NAME = {hypervisor.name: hypervisor for hypervisor in (LIBVIRT, VIRTUALBOX)}
