"""Machines that labctl did not make: a Debian with sshd, a user who may sudo without a password, and no root login."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from labctl.providers import container, host, launch, rootfs
from labctl.providers.engine import Engine

SUITES = {"trixie": "13", "bookworm": "12"}
USER = "friend"
_LABELS = {"labctl.test": "bare-host"}
_SETUP = f"""
set -eu
# Without PAM, sshd lets nobody in whose password is locked.
useradd --password '*' --create-home --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
chmod 0440 /etc/sudoers.d/{USER}
install -d -m 0700 -o {USER} -g {USER} /home/{USER}/.ssh
install -m 0600 -o {USER} -g {USER} /dev/stdin /home/{USER}/.ssh/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
printf 'PermitRootLogin no\\nPasswordAuthentication no\\nUsePAM no\\nUseDNS no\\nMaxStartups 64:30:128\\n' \\
  > /etc/ssh/sshd_config.d/labctl.conf
rm -rf /var/lib/labctl
# It failed without a host key until now.
systemctl reset-failed ssh
systemctl restart ssh
# It runs on every machine of this kind; here a session of sudo's would call it only later.
systemctl start systemd-logind
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


@dataclass(frozen=True)
class BareHost:
    """One of them; `key` lets its user in, `known_hosts` has its host key."""

    name: str
    suite: str
    address: str
    key: Path
    known_hosts: Path

    def root(self, script: str, stdin: str = "") -> str:
        """What a script prints there, by the container engine: SSH is not needed for it."""
        argv = ["podman", "exec", "--interactive", self.name, "sh", "-euc", script]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def image(suite: str) -> str:
    """A base machine of that Debian with sudo, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rootfs, "SUITE", suite)
        patch.setattr(rootfs, "UPSTREAM_IMAGE", f"docker.io/library/debian:{suite}-slim")
        patch.setattr(rootfs, "PACKAGES", (*rootfs.PACKAGES, "sudo"))
        return rootfs.ensure(Engine(), _LABELS, lambda _: None)


@contextmanager
def bare_hosts(
    folder: Path, suites: dict[str, str], places: Mapping[str, tuple[str, ...]] | None = None
) -> Iterator[dict[str, BareHost]]:
    """Machines by name, each of the Debian that `suites` says, gone at the end; keys and disks are in `folder`.

    `places` are their networks and addresses; without it they are on podman's own network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    engine, key = Engine(), folder / "id_ed25519"
    container._make_key(key, "bare-hosts")
    places = places or {
        name: ("podman", f"10.88.{os.getpid() % 200 + 20}.{number}") for number, name in enumerate(suites, 11)
    }
    try:
        yield {name: _start(engine, folder, name, suite, *places[name]) for name, suite in suites.items()}
    finally:
        engine.remove(list(suites))


@contextmanager
def behind_a_router(name: str, subnets: list[str], subnets6: list[str]) -> Iterator[list[str]]:
    """Networks of these subnets (/24 and /64), and a container `name` that routes between them and, with NAT, outside.

    It has .254 and ::fe in each of them; its interfaces are called in0, in1 and so on. All is gone at the end.
    """
    engine = Engine()
    networks = [f"{name}-{number}" for number in range(len(subnets))]
    try:
        legs = ["podman:interface_name=out"]
        for number, (network, four, six) in enumerate(zip(networks, subnets, subnets6, strict=True)):
            # Without rules of podman's on this host, which would translate addresses between the networks.
            words = ["--internal", "--disable-dns", "--subnet", four, "--ipv6", "--subnet", six, network]
            engine("network", "create", *words)
            mine = f"ip={four.removesuffix('0/24')}254,ip={six.removesuffix('/64')}fe"
            legs.append(f"{network}:{mine},interface_name=in{number}")
        words = [f"--sysctl=net.ipv{kind}=1" for kind in ("4.ip_forward", "6.conf.all.forwarding")]
        words += [*host.run_arguments(host.look()), *(f"--network={leg}" for leg in legs)]
        engine("run", "--detach", "--name", name, *words, image("trixie"), "sleep", "inf")
        # An internal network's bridge has no address of this host's, which SSH must reach the machines from.
        bridges = {network.name: network.interface for network in engine.networks()}
        for network, four, six in zip(networks, subnets, subnets6, strict=True):
            for address in (four.replace(".0/24", ".1/24"), six.replace("::/64", "::1/64")):
                subprocess.run(["ip", "address", "add", address, "dev", bridges[network]], check=True)
        nat = "table ip out { chain out { type nat hook postrouting priority srcnat; oifname out masquerade; }; }"
        in_network(name, "nft", nat)
        yield networks
    finally:
        engine.remove([name])
        for network in networks:
            engine("network", "rm", "--force", network)


def in_network(container: str, *words: str) -> str:
    """What a program of this host prints in the network of a container."""
    pid = Engine()("inspect", "--format", "{{.State.Pid}}", container).stdout.strip()
    done = subprocess.run(["nsenter", "--target", pid, "--net", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _start(engine: Engine, folder: Path, name: str, suite: str, network: str, *addresses: str) -> BareHost:
    base = image(suite)
    var = folder / name / "var"
    var.mkdir(parents=True)
    copy = ("cp", "-a", "/var/.", "/out/")
    engine("run", "--rm", *host.run_arguments(host.look()), "--volume", f"{var}:/out", "--network", "none", base, *copy)
    options = [f"{'--ip6' if ':' in address else '--ip'}={address}" for address in addresses]
    engine(*launch.machine(engine, name, var, _LABELS, base, "--network", network, *options))
    key, known = folder / "id_ed25519", folder / "known_hosts"
    made = BareHost(name, suite, addresses[0], key, known)
    made.root("timeout 30 sh -c 'until systemctl is-active --quiet multi-user.target; do sleep 0.2; done'")
    public = made.root(_SETUP, stdin=key.with_suffix(".pub").read_text())
    with known.open("a") as file:
        file.write(f"{made.address} {' '.join(public.split()[:2])}\n")
    container.wait_reachable(made.address, name, "podman logs")
    return made
