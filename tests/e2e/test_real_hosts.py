"""playbooks/prepare.yml by hand on a bare machine: what it changes there, what it leaves alone, and why.

The machine is a container, so all that belongs to a kernel is seen to be left alone; tests/e2e/test_own_kernel.py has
the other half.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from labctl import bundle, config, inventory, paths
from labctl.providers.node_image import NodeImage
from labctl.state import write_file
from tests.e2e.conftest import podman

pytestmark = pytest.mark.slow  # prepares a bare machine

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
PEER = "192.0.2.7"
PROXY = "http://somebody:a-password@proxy.example:3128"


@dataclass
class Bare:
    """A machine that nothing was done to, and the inventory that names it."""

    name: str
    address: str
    inventory: Path

    def __call__(self, script: str) -> str:
        return podman("exec", self.name, "sh", "-euc", script)

    def prepare(self, *words: str, playbook: str = "prepare.yml") -> int:
        """Run a playbook; returns the number of changed tasks."""
        done = subprocess.run(
            [
                str(PLAYBOOK),
                "-i",
                str(self.inventory),
                str(paths.playbook(playbook)),
                "--limit",
                self.name,
                *words,
            ],
            env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "ANSIBLE_SSH_ARGS": "-C"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "a-password" not in done.stdout
        return int(re.findall(rf"^{self.name} .*changed=(\d+)", done.stdout, re.MULTILINE)[0])

    def answers(self, port: int) -> bool:
        """Whether the firewall lets one through to a program that listens on `port` for as long as this takes."""
        self(f"systemd-run --quiet --unit listen-{port} python3 -m http.server {port}")
        try:
            self(f"timeout 30 sh -c 'until ss -ltn | grep -q :{port}; do sleep 0.1; done'")
            with socket.socket() as probe:
                probe.settimeout(2)
                return probe.connect_ex((self.address, port)) == 0
        finally:
            self(f"systemctl stop listen-{port}")

    def files(self) -> str:
        return self("find /etc /opt /usr/local /usr/sbin -type f -printf '%p %s %T@\\n' | sort")


@pytest.fixture(scope="module")
def bare(home: Path) -> Iterator[Bare]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABCTL_HOME", str(home))
        found = bundle.find(config.DEFAULT_KUBERNETES)
        assert found is not None
        image = NodeImage(f"bare-{os.getpid()}")
        machine, keys = image.start(lambda _: None)
        try:
            path = home / "bare-inventory.yml"
            tree = yaml.safe_load(inventory.for_bake(machine.name, machine.address, found.path, keys))
            tree["all"]["children"]["workers"]["hosts"] = {"peer": {"node_address": PEER}}
            # No shared connections: each task sees the environment that sshd gives now.
            common = tree["all"]["vars"]["ansible_ssh_common_args"]
            tree["all"]["vars"]["ansible_ssh_common_args"] = re.sub(r"-o Control\S+", "", common)
            write_file(path, yaml.safe_dump(tree))
            made = Bare(machine.name, machine.address, path)
            made("echo '/dev/sdz9 none swap sw 0 0' >> /etc/fstab")
            yield made
        finally:
            image.discard()


@pytest.fixture(scope="module")
def prepared(bare: Bare) -> Bare:
    """After --check, which changes nothing, and one real run."""
    before = bare.files()
    bare.prepare("--check", "--diff")
    assert bare.files() == before
    assert bare.prepare() > 0
    return bare


def test_a_second_run_changes_nothing(prepared: Bare) -> None:
    assert prepared.prepare() == 0


def test_a_container_keeps_what_is_its_hosts(prepared: Bare) -> None:
    assert "\n/dev/sdz9 none swap sw 0 0\n" in prepared("cat /etc/fstab")
    assert prepared("systemctl is-enabled swap.target || true").strip() == "static"
    assert prepared("find /etc -name '*kubernetes*.conf'").split() == ["/etc/sysctl.d/99-kubernetes.conf"]
    assert not prepared("command -v chronyd || true")


def test_what_is_not_there_gets_no_settings(prepared: Bare) -> None:
    """ufw, firewalld, NetworkManager, systemd-networkd and a proxy: the machine has none of them."""
    firewalls = "/etc/ufw/user.rules /etc/firewalld"
    assert not prepared(f"ls -d {firewalls} /etc/NetworkManager /etc/systemd/networkd.conf.d || true")
    assert not prepared("ls -d /etc/labctl/proxy-of-machine.env || true")


def test_networkmanager_leaves_the_pods_interfaces_alone(prepared: Bare) -> None:
    prepared("mkdir -p /etc/NetworkManager/conf.d")
    assert prepared.prepare() == 1
    assert "unmanaged-devices+=interface-name:veth*" in prepared("cat /etc/NetworkManager/conf.d/labctl.conf")
    assert prepared.prepare() == 0


# The API's port, a NodePort and one that is nobody's business.
PORTS = (6443, 30080, 9999)


@pytest.mark.parametrize(
    ("package", "on", "off", "shown"),
    [
        ("ufw", "ufw allow 22/tcp && ufw --force enable", "ufw --force disable", "ufw status"),
        (
            "firewalld",
            "systemctl start firewalld && firewall-cmd --permanent --add-service ssh && firewall-cmd --reload",
            "systemctl stop firewalld",
            "firewall-cmd --list-ports && firewall-cmd --zone trusted --list-sources",
        ),
    ],
)
def test_a_firewall_lets_the_cluster_through_and_nothing_else(
    package: str, on: str, off: str, shown: str, prepared: Bare
) -> None:
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"
    prepared(f"apt-get update -qq && {install} {package} iptables >/dev/null 2>&1")
    prepared(off)
    assert prepared.prepare() == 0, "installed, but not active"
    prepared(on)
    try:
        assert [prepared.answers(port) for port in PORTS] == [False] * 3, "the firewall is at work"
        assert prepared.prepare() > 0
        assert [prepared.answers(port) for port in PORTS] == [True, True, False]
        rules = prepared(shown)
        assert PEER in rules
        assert "10.244.0.0/16" in rules
        assert prepared.prepare() == 0
    finally:
        prepared(off)


def test_containerd_uses_the_machines_proxy_but_not_for_the_cluster(prepared: Bare) -> None:
    environment = "tr '\\0' '\\n' < /proc/$(pidof containerd)/environ"
    prepared(f"echo 'SetEnv https_proxy={PROXY} no_proxy=intern.example' > /etc/ssh/sshd_config.d/proxy.conf")
    prepared("systemctl reload ssh")
    assert prepared.prepare() > 0
    seen = dict(line.split("=", 1) for line in prepared(environment).splitlines())
    assert seen["HTTPS_PROXY"] == PROXY
    assert {"intern.example", PEER, prepared.address, "10.96.0.0/16"} <= set(seen["NO_PROXY"].split(","))
    assert "a-password" not in prepared("systemctl show containerd; cat /etc/systemd/system/containerd.service")
    assert prepared.prepare() == 0
    prepared("rm /etc/ssh/sshd_config.d/proxy.conf && systemctl reload ssh")
    assert prepared.prepare() > 0
    assert "PROXY" not in prepared(environment)


def test_reset_takes_away_what_was_added_to_firewalls_and_nothing_else(prepared: Bare) -> None:
    prepared("ufw --force enable")
    assert prepared.prepare(playbook="reset.yml") == 1
    assert prepared("ufw show added").splitlines()[1:] == ["ufw allow 22/tcp"]
    prepared("ufw --force disable && systemctl start firewalld")
    assert prepared("firewall-cmd --permanent --list-ports").strip() == ""
    assert prepared("firewall-cmd --permanent --zone=trusted --list-sources").strip() == ""
    assert "ssh" in prepared("firewall-cmd --permanent --list-services")
    assert not prepared("ls /etc/labctl /etc/NetworkManager/conf.d/labctl.conf 2>/dev/null || true")
    assert prepared.prepare(playbook="reset.yml") == 0
