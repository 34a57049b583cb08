"""Machines that are there already: labctl reaches them over SSH, makes none, and takes none away."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from labctl import marker, paths, process
from labctl.bundle import arch_of
from labctl.config import LabConfig
from labctl.config_hosts import Host, Ssh
from labctl.config_networks import NODE_PREFIXES, Network
from labctl.errors import LabError, ProviderError, TimedOutError, command_for
from labctl.events import Emit
from labctl.providers.base import Machine, Power, Problem, Way
from labctl.providers.switch import switch
from labctl.topology import Planned

T = TypeVar("T")
MANIFEST = "/var/lib/labctl-node/manifest.json"
"""On a machine: what it was before. The role node_base writes it, node_reset acts by it."""
_ANSWERS_WITHIN_S = 20
_SWITCHED_WITHIN_S = 300
_SHUT_DOWN_WITHIN_S = 120
_POLL_S = 1.0
_ABOUT = f"""
command -v python3 >/dev/null || echo no-python
if [ -r {MANIFEST} ]; then sed -n 's/^ *"lab": "\\(.*\\)",*$/lab \\1/p' {MANIFEST}; exit; fi
if [ -d /etc/labctl ]; then exit; fi
if [ -e /etc/kubernetes/kubelet.conf ] || [ -e /var/lib/etcd/member ]; then echo kubernetes; fi
for unit in kubelet containerd docker crio k3s; do systemctl cat $unit.service >/dev/null 2>&1 && echo unit $unit; done
true
"""
"""Asks a machine, as root, what it is; changes nothing."""


class HostsProvider:
    """The machines that `config` names. Without power commands nobody can switch them."""

    name = "hosts"

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.lab = config.name

    def refuse(self, config: LabConfig) -> None:
        """Nothing beside what the configuration itself refuses."""

    def caveats(self) -> list[str]:
        """None."""
        return []

    def preflight(self) -> list[Problem]:
        """Whether there is ssh, each machine answers it, and lets labctl be root."""
        if not process.has("ssh"):
            return [Problem("the program ssh is not installed", "sudo apt-get install -y openssh-client")]
        return [problem for problem in self._each(self._out_of_reach) if problem]

    def obstacles(self, config: LabConfig, *, is_baked: bool) -> list[Problem]:  # noqa: ARG002 (nothing is baked)
        """Machines that are somebody else's already: another lab's, or another Kubernetes'."""
        return [problem for found in self._each(self._taken) for problem in found]

    def changes(self, config: LabConfig) -> list[Problem]:  # noqa: ARG002 (looked up from the machines alone)
        """None that could be seen without changing something: `labctl verify` looks at machines."""
        return []

    def shortages(self) -> list[str]:
        """None of this host's."""
        return []

    def plan(self, config: LabConfig) -> list[Planned]:
        """The hosts with the addresses that they have."""
        hosts = settled(config, {})
        return [
            Planned(
                name,
                hosts[name].role,
                hosts[name].node_address,
                cast("Network", hosts[name].pod_subnet),
                config.machine(name),
                hosts[name].node_second_address,
                hosts[name].second_pod_subnet,
            )
            for name in config.machine_names
        ]

    def create(self, config: LabConfig, emit: Emit) -> None:  # noqa: ARG002 (nothing is made)
        """Nothing is made: see that each machine is still there. Raises `ProviderError`."""
        if problems := self.preflight():
            raise ProviderError("\n".join(problem.text for problem in problems), problems[0].hint)

    def architecture(self) -> str:
        """Of all machines, in Go's words. Raises `ProviderError` if there are several, for a lab has one bundle."""
        found = self._each(lambda machine: self._answer(machine, "uname -m").stdout.strip())
        if len(set(found)) > 1:
            said = ", ".join(f"{name} is {kind}" for name, kind in zip(self.config.machine_names, found, strict=True))
            raise ProviderError(f"the machines must all be of one architecture: {said}", "name others in labctl.yml")
        return arch_of(found[0])

    def machines(self) -> list[Machine]:
        """The hosts, control planes first, each with what is known of its power now."""
        powers = self._each(self.power)
        names = self.config.machine_names
        hosts = [self.config.hosts[name] for name in names]
        return [
            Machine(name, host.role, str(host.node_address), power, str(host.node_second_address or ""))
            for name, host, power in zip(names, hosts, powers, strict=True)
        ]

    def destroy(self) -> None:
        """Nothing is removed: what labctl did to the machines, playbooks/reset.yml takes away."""

    def collect_logs(self, into: Path) -> None:
        """Nothing beside what SSH gives."""

    def power(self, machine: str) -> Power:
        """On if it answers; otherwise nobody knows."""
        return "on" if process.run(self._words(machine, "true"), check=False).code == 0 else "unreachable"

    def power_on(self, machine: str) -> None:
        """Raise `ProviderError`, unless it is on."""
        if self.power(machine) != "on":
            raise ProviderError(
                f"{machine} does not answer, and labctl has no switch for it",
                "switch it on yourself; power: in labctl.yml names commands that can",
            )

    def way(self, machine: Machine) -> Way:
        """As the user and with the files that labctl.yml names; all else is ssh's own configuration."""
        ssh = self._ssh(machine.name)
        return Way(tuple(ssh_words(ssh, self.config.hosts[machine.name].address)), is_root=not becomes(ssh))

    def _ssh(self, machine: str) -> Ssh:
        return self.config.hosts[machine].over(self.config.ssh)

    def _words(self, machine: str, script: str) -> list[str]:
        ssh = self._ssh(machine)
        words = ["ssh", "-o", "BatchMode=yes", *ssh_words(ssh, self.config.hosts[machine].address)[1:]]
        return [*words, as_root(["sh", "-c", script]) if becomes(ssh) else shlex.join(["sh", "-c", script])]

    def _answer(
        self, machine: str, script: str, *, check: bool = True, timeout_s: float | None = None
    ) -> process.Completed:
        """What came of `script` there, without what the user's shell says first."""
        begins = marker.new()
        done = process.run(self._words(machine, f"echo {begins}\n{script}"), check=check, timeout_s=timeout_s)
        return replace(done, stdout=marker.after(begins, done.stdout))

    def _each(self, look: Callable[[str], T]) -> list[T]:
        """What `look` sees of each machine, at once."""
        with ThreadPoolExecutor(max_workers=16) as pool:
            return list(pool.map(look, self.config.machine_names))

    def _out_of_reach(self, machine: str) -> Problem | None:
        host, limit_s = self.config.hosts[machine], _ANSWERS_WITHIN_S * self.config.patience
        try:
            done = self._answer(machine, "id -u", check=False, timeout_s=limit_s)
        except process.TimeoutExpired:
            return Problem(
                f"{machine}: SSH to {host.address} gave no answer in {limit_s:.0f} s", _by_hand(self, machine)
            )
        said = done.stderr.strip().splitlines() or ["no reason was given"]
        if done.code == 255:  # noqa: PLR2004 (ssh's own failure, ssh(1))
            return Problem(f"{machine} is not reached by SSH at {host.address}: {said[-1]}", _by_hand(self, machine))
        if done.code != 0:
            text = f"{machine}: sudo without a password is not allowed there: {said[-1]}"
            return Problem(text, "a line in its /etc/sudoers.d: USER ALL=(ALL) NOPASSWD: ALL; become: false for root")
        if done.stdout.strip() != "0":
            return Problem(f"{machine}: the user there is not root", "become: true in labctl.yml, or user: root")
        return None

    def _taken(self, machine: str) -> list[Problem]:
        lines = self._answer(machine, _ABOUT).stdout.splitlines()
        problems = []
        for kind, _, what in (line.partition(" ") for line in lines):
            if kind == "no-python":
                problems.append(
                    Problem(
                        f"{machine} has no python3, which Ansible needs",
                        "apt-get install python3, or dnf install python3",
                    )
                )
            elif kind == "lab" and what != self.lab:
                text = f"{machine} is a machine of the lab {what or 'without a name'}, not of {self.lab}"
                problems.append(Problem(text, f"{command_for(what, 'down')} where that lab was made, or name: {what}"))
            elif kind == "kubernetes":
                text = f"{machine} is a node of a cluster that labctl did not make (/etc/kubernetes, /var/lib/etcd)"
                problems.append(Problem(text, "name another machine, or let its owner run kubeadm reset there"))
            elif kind == "unit":
                text = f"{machine} has a unit {what}.service that labctl did not install and would be in the way of"
                problems.append(Problem(text, "name another machine, or remove what brought the unit"))
        return problems


class SwitchedHosts(HostsProvider):
    """Hosts whose power switch labctl.yml names."""

    def __init__(self, config: LabConfig) -> None:
        super().__init__(config)
        powers = {name: config.switch_of(name) for name in config.hosts}
        self._switches = {
            name: switch(power, name, config.hosts[name].address) for name, power in powers.items() if power
        }

    def preflight(self) -> list[Problem]:
        """Whether each switch answers, too: a drill is no time to find that out."""
        return super().preflight() or [problem for problem in self._each(self._without_answer) if problem]

    def _without_answer(self, machine: str) -> Problem | None:
        try:
            self.power(machine)
        except LabError as error:
            return Problem(error.message, error.hint)
        return None

    def power(self, machine: str) -> Power:
        """What the switch says. Raises `ProviderError` if that cannot be told."""
        return self._switches[machine].state()

    def power_off(self, machine: str) -> None:
        """Cut the power, and wait until the switch says so."""
        self._own(machine)
        if self.power(machine) != "off":
            self._switches[machine].off()
            self._wait(machine, "off", _SWITCHED_WITHIN_S)

    def power_on(self, machine: str) -> None:
        """Switch on, and wait until SSH answers."""
        self._own(machine)
        if self.power(machine) != "on":
            self._switches[machine].on()
            self._wait(machine, "on", _SWITCHED_WITHIN_S)
        limit_s = _SWITCHED_WITHIN_S * self.config.patience
        deadline = time.monotonic() + limit_s
        while (problem := self._out_of_reach(machine)) is not None:
            if time.monotonic() > deadline:
                raise TimedOutError(f"{problem.text}, {limit_s:.0f} s after it was switched on", problem.hint)
            time.sleep(_POLL_S)

    def stop(self, machine: str) -> None:
        """Let it shut itself down, and wait until the switch says off."""
        self._own(machine)
        if self.power(machine) == "on":
            # The connection may end before the answer.
            process.run(self._words(machine, "systemctl --no-block poweroff"), check=False)
            self._wait(machine, "off", _SHUT_DOWN_WITHIN_S)

    def _own(self, machine: str) -> None:
        if machine not in self.config.hosts:
            raise ProviderError(
                f"{machine} is no machine of the lab {self.lab}", f"{command_for(self.lab, 'status')} lists them"
            )

    def _wait(self, machine: str, wanted: Power, limit_s: float) -> None:
        limit_s *= self.config.patience
        deadline = time.monotonic() + limit_s
        while (seen := self.power(machine)) != wanted:
            if time.monotonic() > deadline:
                raise TimedOutError(
                    f"{machine} is not {wanted} within {limit_s:.0f} s (last: {seen})", "power: in labctl.yml"
                )
            time.sleep(_POLL_S)


def of(config: LabConfig) -> HostsProvider:
    """The provider of the hosts that `config` names."""
    is_switched = config.power or any(host.power for host in config.hosts.values())
    return SwitchedHosts(config) if is_switched else HostsProvider(config)


def becomes(ssh: Ssh) -> bool:
    """Whether commands go through sudo: unless it is said, for every user but root."""
    return ssh.user != "root" if ssh.become is None else ssh.become


def as_root(argv: list[str]) -> str:
    """`argv` through sudo, as one word for ssh."""
    return shlex.join(["sudo", "-n", "--", *argv])


def ssh_options(ssh: Ssh) -> list[str]:
    """Those of ssh's words that are neither the user, the port nor the key: Ansible has variables for these."""
    # The first word on a matter is the one that ssh takes: what was asked for goes before what labctl would do.
    words = [*ssh.options, "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"]
    if ssh.known_hosts:
        words += ["-o", f"UserKnownHostsFile={paths.for_ssh(ssh.known_hosts)}", "-o", "StrictHostKeyChecking=yes"]
    if ssh.key:
        words += ["-o", "IdentitiesOnly=yes"]
    if ssh.jump:
        words += ["-o", f"ProxyJump={ssh.jump}"]
    return words


def ssh_words(ssh: Ssh, address: str) -> list[str]:
    """The ssh command up to where the remote command begins."""
    words = ["ssh", *ssh_options(ssh)]
    for option, value in (("-i", ssh.key), ("-p", ssh.port), ("-l", ssh.user)):
        words += [option, str(value)] if value else []
    return [*words, address]


def _by_hand(provider: HostsProvider, machine: str) -> str:
    words = provider.way(Machine(machine, "worker", "", "on")).words
    return f"{shlex.join(words)} true: try it by hand; a host key that is not known yet is asked about there"


def settled(config: LabConfig, before: dict[str, Host]) -> dict[str, Host]:
    """The hosts of `config`, each with its pod subnets; those of `before`, the lab's, keep theirs and come first."""
    hosts = {name: config.hosts[name] for name in [*(n for n in before if n in config.hosts), *config.hosts]}
    for key, network in zip(("pod_subnet", "second_pod_subnet"), config.networks.of_pods, strict=False):
        subnets: dict[str, Network | None] = {
            name: getattr(host, key) or (getattr(before[name], key) if name in before else None)
            for name, host in hosts.items()
        }
        taken = set(subnets.values())
        free = (net for net in network.subnets(new_prefix=NODE_PREFIXES[network.version]) if net not in taken)
        hosts = {name: host.model_copy(update={key: subnets[name] or next(free)}) for name, host in hosts.items()}
    return hosts
