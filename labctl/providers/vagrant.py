"""Virtual machines, made by the project's Vagrantfile. Once SSH answers on the private network they are like hosts."""

from __future__ import annotations

from ipaddress import IPv4Network

import psutil

from labctl import paths, process, state, topology
from labctl.config import LabConfig
from labctl.config_hosts import Host
from labctl.config_machine import MachineSettings, mebibytes
from labctl.config_vagrant import MEMORY, NETWORK
from labctl.errors import UsageError, command_for
from labctl.events import Emit, Progress
from labctl.providers import hypervisor
from labctl.providers.base import Machine, Power, Problem
from labctl.providers.hosts import SwitchedHosts
from labctl.providers.vagrant_program import Line, Vagrant
from labctl.topology import Planned

_USER = "vagrant"
"""That every box has, with sudo and without a password: https://developer.hashicorp.com/vagrant/docs/boxes/base"""
_SLOW_CONNECT_S = 60


class VagrantProvider(SwitchedHosts):
    """The machines of `config` as Vagrant makes them; `SwitchedHosts` knows what comes after."""

    name = "vagrant"

    def __init__(self, config: LabConfig) -> None:
        self.hypervisor = hypervisor.BY_NAME[config.vagrant.hypervisor]
        super().__init__(as_hosts(config))
        self.files = paths.LabPaths(config.name)
        self.vagrant = Vagrant(self.files, self.hypervisor.name)

    def refuse(self, config: LabConfig) -> None:
        """Raise `UsageError` for machines that are more than this host has."""
        asked, here = _memory_mib(config, config.machine_names), psutil.virtual_memory().total // 2**20
        if asked > here:
            raise UsageError(
                f"the machines want {asked} MiB of memory, and this host has {here}",
                "node: {memory: 2Gi} in labctl.yml",
            )

    def preflight(self) -> list[Problem]:
        """Whether Vagrant, its hypervisor and ssh are there, and answer."""
        packages = {"vagrant": "vagrant", "ssh": "openssh-client"}
        lacking = [
            Problem(f"the program {program} is not installed", f"sudo apt-get install {package}")
            for program, package in packages.items()
            if not process.has(program)
        ]
        return lacking + self.hypervisor.problems()

    def obstacles(self, config: LabConfig, *, is_baked: bool) -> list[Problem]:  # noqa: ARG002 (nothing is baked)
        """Too little memory, another lab on the same network, machines of that name that are not this lab's."""
        powers = dict(zip(self.config.machine_names, self._each(self.power), strict=True))
        found = [
            Problem(
                f"{self.hypervisor.name} has a machine {name} that this lab did not make",
                f"vagrant destroy, or {command_for(self.lab, 'down')}, where it was made; or another name for this lab",
            )
            for name, power in powers.items()
            if power != "gone" and not self.vagrant.is_known(name)
        ]
        off = [name for name, power in powers.items() if power in ("off", "gone")]
        shorts = dict(zip(config.node_names, config.machine_names, strict=True))
        asked, free = _memory_mib(config, [shorts[name] for name in off]), psutil.virtual_memory().available // 2**20
        if asked > free:
            text = f"{', '.join(off)} want {asked} MiB of memory, and {free} are free"
            found.append(Problem(text, "end something else, or node: {memory: ...} in labctl.yml"))
        return found + _on_the_same_network(config)

    def plan(self, config: LabConfig) -> list[Planned]:
        """The machines with their addresses on the private network."""
        return topology.plan(config, network_of(config))

    def create(self, config: LabConfig, emit: Emit) -> None:
        """Make the missing machines, start those that are off, wait until SSH answers on the private network."""
        self.vagrant.describe(config)
        self._make([name for name in config.node_names if not self._is_whole(name)], emit)
        for name in config.node_names:
            if (power := self.power(name)) != "on":
                emit(Progress(f"{name} was {power}: switched on"))
            self.power_on(name)

    def _is_whole(self, machine: str) -> bool:
        """Whether the machine is there, and vagrant was done with it."""
        return self.files.vagrant_made(machine).exists() and self.power(machine) != "gone"

    def _make(self, machines: list[str], emit: Emit) -> None:
        """Make them; what an earlier run left half made is removed before."""
        if not machines:
            return
        states = self.vagrant.states()
        if half := [name for name in machines if states.get(name, "not_created") != "not_created"]:
            emit(Progress(f"left half made by a run that was cut off, and made anew: {', '.join(half)}"))
            self.vagrant.run("destroy", "--force", *half)
        self._forget_host_keys(machines)
        self.vagrant.run("up", *machines, on_line=lambda line: _tell(line, emit))
        for name in machines:
            state.write_file(self.files.vagrant_made(name), "")

    def machines(self) -> list[Machine]:
        """Those of the lab's machines that there are, control planes first."""
        return [machine for machine in super().machines() if machine.power != "gone"]

    def destroy(self) -> None:
        """Remove the machines, their disks and their network."""
        if self.files.vagrant_config.exists():
            self.vagrant.run("destroy", "--force")

    def engine_version(self) -> str:
        """Vagrant's and the hypervisor's name, as in ``Vagrant 2.3.4 with libvirt``."""
        done = process.run(["vagrant", "--version"], check=False, env=self.vagrant.env)
        return f"{done.stdout.strip() or 'Vagrant'} with {self.hypervisor.name}"

    def power(self, machine: str) -> Power:
        """The switch, as the hypervisor has it now."""
        return self.hypervisor.power(machine)

    def power_on(self, machine: str) -> None:
        """Switch on, and wait until SSH answers."""
        self._own(machine)
        if self.power(machine) == "paused":
            self.hypervisor.wake(machine)
        super().power_on(machine)

    def _forget_host_keys(self, machines: list[str]) -> None:
        """Of machines that are made again: they come with other keys."""
        for name in machines if self.files.known_hosts.exists() else ():
            address = self.config.hosts[name].address
            process.run(["ssh-keygen", "-R", address, "-f", str(self.files.known_hosts)], check=False)


def network_of(config: LabConfig) -> IPv4Network:
    """The machines' private network."""
    return config.networks.machines or NETWORK


def as_hosts(config: LabConfig) -> LabConfig:
    """`config` as if its machines had been there before: hosts by their nodes' names, reached as Vagrant's user.

    A machine's host key is learnt when it is first reached, over a network that does not leave this host.
    """
    lab = paths.LabPaths(config.name)
    options = ["-F", "none", "-o", f"UserKnownHostsFile={lab.known_hosts}", "-o", "StrictHostKeyChecking=accept-new"]
    if config.slow_machine:
        options += ["-o", f"ConnectTimeout={_SLOW_CONNECT_S}"]
    found = {
        planned.name: Host(
            role=planned.role,
            address=str(planned.address),
            pod_subnet=planned.pod_subnet,
            user=_USER,
            key=str(lab.vagrant_key(planned.name, config.vagrant.hypervisor)),
            options=tuple(options),
        )
        for planned in topology.plan(config, network_of(config))
    }
    power = hypervisor.BY_NAME[config.vagrant.hypervisor].commands
    return config.model_copy(update={"provider": "hosts", "hosts": found, "power": power})


def _on_the_same_network(config: LabConfig) -> list[Problem]:
    others = [record.config for name in paths.lab_names() if name != config.name and (record := state.find(name))]
    return [
        Problem(
            f"the lab {other.name} has the network {network_of(config)} already",
            "networks: {machines: 192.168.57.0/24} in labctl.yml gives this lab another one",
        )
        for other in others
        if other.provider == "vagrant" and network_of(other).overlaps(network_of(config))
    ]


def memory_mib(settings: MachineSettings) -> int:
    """Of a virtual machine, which needs a size where a container need not have one."""
    return mebibytes(settings.memory or MEMORY)


def _memory_mib(config: LabConfig, machines: list[str]) -> int:
    return sum(memory_mib(config.machine(name)) for name in machines)


def _tell(line: Line, emit: Emit) -> None:
    """What vagrant is at, in its own words, for it is minutes until it ends; without its lists of settings."""
    if line.target and line.type == "ui" and line.data[0] == "info":
        text = line.data[-1].strip()
        if text and not text.startswith("-- ") and "\n" not in text:
            emit(Progress(f"{line.target}: {text}"))
