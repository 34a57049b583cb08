"""Machines as system containers: systemd, sshd and a disk of their own, reached over SSH like any machine."""

from __future__ import annotations

import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import cast

from filelock import FileLock

from labctl import paths, process, topology
from labctl.config import LabConfig
from labctl.errors import LabError, PrerequisiteError, ProviderError, TimedOutError, command_for
from labctl.events import Emit, Progress
from labctl.providers import disk, engines, extras, host, launch, needs, network, obstacles, preflight, rootless, size
from labctl.providers.base import Machine, Power, Problem, Way
from labctl.providers.engine import DOCKER, PODMAN, Engine
from labctl.state import write_file
from labctl.topology import Planned, Role

_REACHABLE_WITHIN_S = 60
_OFF_WITHIN_S = 20
_SHUTDOWN_WITHIN_S = 60
_PODS_END_WITHIN_S = 75
"""longer than `shutdown_grace_s` may be"""
_END_PODS = """
systemctl is-active --quiet systemd-logind || exit 0
waits() { systemd-inhibit --list --no-legend | grep -q "^$1 "; }
waits kubelet || exit 0
systemd-run --quiet systemd-inhibit --who=labctl --what=shutdown --mode=delay sleep infinity
until waits labctl; do sleep 0.05; done
systemctl --no-block poweroff
while waits kubelet; do sleep 0.1; done
"""
"""A kubelet with a shutdownGracePeriod ends its pods when logind says that the machine goes. The engine's stop passes
logind by, and what goes by itself the engine starts again: so a lock of labctl's holds the machine until the stop."""
_RESTART = {PODMAN: "always", DOCKER: "unless-stopped"}
"""podman's unit for the boot looks for `always` alone, and leaves what was killed or stopped alone until then."""
_POWER: dict[str, Power] = {"running": "on", "paused": "paused", "missing": "gone"}


class ContainerProvider:
    """The machines of `lab`, made from the node image `image` (see `labctl.providers.node_image`).

    Without `engine` it is the one that the lab's record names.
    """

    def __init__(self, lab: str, engine: Engine | None = None, image: str = "") -> None:
        self.engine = engine or engines.choose(lab)
        self.lab = paths.LabPaths(lab)
        self.image = image
        self.labels = {"labctl.lab": lab, "labctl.home": str(paths.home())}
        self.network_name = network.PREFIX + lab

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    def refuse(self, config: LabConfig) -> None:
        """Raise `UsageError` for a machine that is larger than this host, `PrerequisiteError` if this is no Linux."""
        if elsewhere := host.why_not():
            raise PrerequisiteError(elsewhere, rootless.USE_HOSTS)
        size.refuse_too_large(config)

    def caveats(self) -> list[str]:
        """Whether the machines end with the user's session."""
        keep = rootless.ends_with_the_session()
        return [f"the machines go off when you log out: {keep} keeps them"] if keep else []

    def preflight(self) -> list[Problem]:
        """What is missing on this host, or in the way of this lab."""
        problems = preflight.check(self.engine)
        if problems:
            return problems
        foreign = [
            item.name
            for item in self.engine.containers({"labctl.lab": self.lab.name})
            if item.labels.get("labctl.home") != self.labels["labctl.home"]
        ]
        if foreign:
            return [
                Problem(
                    f"the name {self.lab.name} is taken: {', '.join(sorted(foreign))} belong to another LABCTL_HOME",
                    f"use another --lab, or {command_for(self.lab.name, 'down')} there",
                )
            ]
        return []

    def obstacles(self, config: LabConfig, *, is_baked: bool) -> list[Problem]:
        """What is in the way of the machines of `config`: things changed behind labctl's back, too little room."""
        present = self.engine.containers(self.labels)
        found = [*preflight.kernel_problems(config), *self.changes(config)]
        running = sum(container.state == "running" for container in present)
        if found or (is_baked and running >= config.control_planes + config.workers):
            return found
        return needs.check(config, self.engine, running=running, is_baked=is_baked)

    def changes(self, config: LabConfig) -> list[Problem]:
        """Containers, networks and disks that are not as labctl left them."""
        present = self.engine.containers(self.labels)
        return obstacles.check(config, self.engine, self.labels, self.network_name, present)

    def shortages(self) -> list[str]:
        """What this host has run out of."""
        return needs.used_up(self.engine)

    def plan(self, config: LabConfig) -> list[Planned]:
        """The machines of `config` in the lab's network; none before `create`."""
        subnet = network.subnet(self.engine, self.network_name)
        return topology.plan(config, subnet) if subnet else []

    def create(self, config: LabConfig, emit: Emit) -> None:
        """Make the network and the missing machines, start the stopped ones, wait until SSH answers on each."""
        paths.cache().mkdir(parents=True, exist_ok=True)
        with FileLock(paths.cache() / "network.lock"):  # two labs must not choose the same subnet
            others = (config.networks.pods, config.networks.services)
            subnet = network.ensure(
                self.engine,
                self.network_name,
                self.labels,
                config.networks.machines,
                others,
                has_ipv6=config.networks.family != "ipv4",
            )
        ensure_ssh_key(self.lab)
        wanted = topology.plan(config, subnet)
        self.engine.settle(f"labctl.lab={self.lab.name}")
        powers = {machine.name: machine.power for machine in self.machines()}
        missing = [machine for machine in wanted if machine.name not in powers]
        extras.refuse_taken_ports(machine for machine in missing if machine.settings.ports)
        self._pin_host_keys(wanted)
        with ThreadPoolExecutor(max_workers=8) as pool:
            for note in pool.map(lambda machine: self._ensure_on(machine, powers.get(machine.name, "gone")), wanted):
                if note:
                    emit(Progress(note))
            see = f"{self.engine.name} logs"
            list(pool.map(lambda machine: wait_reachable(str(machine.address), machine.name, see), wanted))

    def engine_version(self) -> str:
        """Of podman or docker, as in ``podman 5.4.2``."""
        with suppress(LabError):
            return self.engine("--version").stdout.strip().replace(" version ", " ")
        return self.engine.name

    def machines(self) -> list[Machine]:
        """The lab's machines in any state, as the engine has them."""
        found = [
            Machine(
                name=item.name,
                role=cast("Role", item.labels["labctl.role"]),
                address=item.labels["labctl.address"],
                power=_POWER.get(item.state, "off"),
                second_address=item.labels.get("labctl.second-address", ""),
            )
            for item in self.engine.containers(self.labels)
        ]
        return sorted(found, key=lambda machine: (machine.role, ip_address(machine.address)))

    def destroy(self) -> None:
        """Remove the containers and the network that carry the lab's labels."""
        self.engine.settle(f"labctl.lab={self.lab.name}")
        self.engine.remove([item.name for item in self.engine.containers(self.labels)])
        for net in self.engine.networks(self.labels):
            self.engine("network", "rm", net.name)

    def collect_logs(self, into: Path) -> None:
        """Each container's inspection and console."""
        for machine in self.machines():
            folder = into / machine.name
            folder.mkdir(parents=True, exist_ok=True)
            for words, name in ((("inspect",), "inspect.json"), (("logs",), "console.log")):
                done = self.engine(*words, machine.name, check=False)
                (folder / name).write_text(done.stdout + done.stderr, encoding="utf-8")

    def power_off(self, machine: str) -> None:
        """Kill every process of the machine at once."""
        self._own(machine)
        if self.power(machine) in ("on", "paused"):
            done = self.engine("kill", "--signal", "KILL", machine, check=False)
            if done.code != 0 and self.power(machine) == "on":
                raise ProviderError(f"{machine} cannot be killed: {done.stderr.strip()}")
        self.engine.wait_until_off(machine, _OFF_WITHIN_S)

    def stop(self, machine: str) -> None:
        """Shut the machine down as its own `poweroff` would. Idempotent."""
        self._own(machine)
        if self.power(machine) == "paused":
            self.engine("unpause", machine)
        if self.power(machine) == "on":
            self.engine("exec", machine, "timeout", str(_PODS_END_WITHIN_S), "sh", "-c", _END_PODS, check=False)
            self.engine("stop", "-t", str(_SHUTDOWN_WITHIN_S), machine)

    def power_on(self, machine: str) -> None:
        """Start the machine; its disk and address are as before."""
        self._own(machine)
        power = self.power(machine)
        if power == "paused":
            self.engine("unpause", machine)
        elif power == "off":
            self.engine.settle(machine)  # a start that a killed labctl began
            self.engine("start", machine)

    def power(self, machine: str) -> Power:
        """The switch, looked up now."""
        return _POWER.get(self.engine.state(machine), "off")

    def _own(self, machine: str) -> None:
        if machine not in {known.name for known in self.machines()}:
            raise ProviderError(
                f"{machine} is no machine of the lab {self.lab.name}",
                f"{command_for(self.lab.name, 'status')} lists them",
            )

    def _ensure_on(self, machine: Planned, power: Power) -> str:
        """Make or start one machine whose switch is at `power`; says what was done, or nothing."""
        if power == "on":
            return ""
        if power != "gone":
            self.power_on(machine.name)
            return f"{machine.name} was {power}: switched on"
        var = self.lab.machine(machine.name) / "var"
        disk.discard(var)  # of a machine that is gone, or cloned from another image by an up that was killed
        disk.clone(paths.node_images() / self.image / "var", var)
        write_identity(self.lab, self.lab.machine(machine.name), var)
        labels = {**self.labels, "labctl.machine": machine.name}
        labels |= {"labctl.role": machine.role, "labctl.address": str(machine.address)}
        options = ["--network", self.network_name]
        for address in filter(None, (machine.address, machine.second_address)):
            options += ["--ip" if isinstance(address, IPv4Address) else "--ip6", str(address)]
        if machine.second_address:
            labels["labctl.second-address"] = str(machine.second_address)
        # Back after a restart of the host or the engine, but not after a stop or a kill.
        options.append(f"--restart={_RESTART[self.engine.name]}")
        options += size.run_arguments(machine.settings, self.lab.machine(machine.name))
        options += extras.run_arguments(machine.settings)
        if self.engine.name == DOCKER:
            options += ["--volume", f"{self._resolv_conf(machine.name)}:/etc/resolv.conf"]
        image = f"localhost/labctl/node:{self.image}"
        self.engine(*launch.machine(self.engine, machine.name, var, labels, image, *options))
        return ""

    def _resolv_conf(self, machine: str) -> Path:
        """In a lab's network docker names a resolver on loopback; CoreDNS would ask itself for ever."""
        path = self.lab.machine(machine) / "resolv.conf"
        write_file(path, host.resolv_conf(), 0o644)
        return path

    def _pin_host_keys(self, machines: list[Planned]) -> None:
        """Make each machine's SSH host key and write known_hosts, so that SSH never has to trust at first sight."""
        lines = []
        for machine in machines:
            public = ensure_host_key(self.lab.machine(machine.name))
            lines.append(f"{machine.address} {public}")
        write_file(self.lab.known_hosts, "\n".join(lines) + "\n")


def way(lab: paths.LabPaths, machine: Machine) -> Way:
    """As root with the lab's key and the pinned host keys; the user's own settings are not for these machines."""
    options = {
        "UserKnownHostsFile": paths.for_ssh(lab.known_hosts),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "5",
    }
    words = ["ssh", "-F", "none", "-i", str(lab.ssh_key)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return Way((*words, f"root@{machine.address}"), is_root=True)


def ensure_ssh_key(lab: paths.LabPaths) -> None:
    """The lab's own key, mode 0600 (ssh-keygen sets it)."""
    _make_key(lab.ssh_key, f"labctl-{lab.name}")


def ensure_host_key(folder: Path) -> str:
    """The machine's SSH host key in `folder`; returns the public half as known_hosts wants it."""
    key = folder / "ssh_host_ed25519_key"
    _make_key(key, folder.name)
    return " ".join(key.with_suffix(".pub").read_text(encoding="ascii").split()[:2])


def _make_key(key: Path, comment: str) -> None:
    """Make the pair `key` unless it is there; who has the private half has the public one too, even after a kill."""
    if key.exists():
        return
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=key.parent, prefix=".key-") as folder:
        made = Path(folder) / key.name
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", made])
        made.with_suffix(".pub").rename(key.with_suffix(".pub"))
        made.rename(key)


def write_identity(lab: paths.LabPaths, folder: Path, var: Path) -> None:
    """Put the lab's public key and the machine's host key on its disk."""
    target = var / "lib" / "labctl"
    ensure_host_key(folder)
    write_file(target / "authorized_keys", lab.ssh_key.with_suffix(".pub").read_text(encoding="ascii"), 0o600)
    write_file(target / "ssh_host_ed25519_key", (folder / "ssh_host_ed25519_key").read_text(encoding="ascii"), 0o600)


def wait_reachable(address: str, name: str, see: str, timeout_s: float = _REACHABLE_WITHIN_S) -> None:
    """Wait until sshd greets at `address`. Raises `TimedOutError` that points to the command `see`."""
    deadline = time.monotonic() + timeout_s
    seen = "no connection"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
                seen = "connected, but no greeting"
        except OSError as error:
            seen = str(error)
        time.sleep(0.05)
    raise TimedOutError(
        f"{name}: SSH did not answer at {address} within {timeout_s:.0f} s (last: {seen})", f"{see} {name}"
    )
