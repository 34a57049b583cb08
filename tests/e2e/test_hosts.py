"""Machines that labctl did not make, from plain Debian to a cluster and back: what they were before, they are again.

They are containers, so what belongs to a kernel is left alone, and seen to be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
import yaml

from labctl import paths
from tests.e2e.bare_hosts import USER, BareHost, bare_hosts
from tests.e2e.conftest import Cli, podman

pytestmark = pytest.mark.slow  # bare machines install everything and unpack all images

SUITES = {"one": "trixie", "two": "bookworm", "three": "trixie"}

# Those of a machine that has been off and on in between, and an empty folder that kube-proxy needs.
_OF_A_START = ("/run/utmp", "/run/sshd.pid", "/usr/lib/modules")
# Logs, caches of apt and dpkg, backup copies that useradd keeps, and what systemd and sshd write as they live.
_LEFT_OUT = (
    *("/var/log", "/var/cache", "/var/lib/apt/lists", "/var/lib/apt/daily_lock", "/var/lib/apt/extended_states"),
    *("/var/lib/dpkg", "/var/lib/systemd", "/run/systemd", "/run/log", "/run/udev", "/run/user", "/run/sudo"),
    *("/run/sshd", "/tmp", "/var/tmp", "/dev", "/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-"),  # noqa: S108
    *_OF_A_START,
)
_FILES = (
    "find / /var /run -xdev "
    + "".join(f"-path {path} -prune -o " for path in _LEFT_OUT)
    + "-path /proc -prune -o -path /sys -prune -o "
)
LOOKS = {
    # A folder's size and times change with what is put into it and taken out.
    "files": _FILES + r"-printf '%p %y %m %U:%G %l\n' | grep -v '^/root/.kube d ' | sort",
    "content": _FILES + "-type f -print0 | xargs -0 sha256sum | sort -k 2",
    "logs": "ls -d /var/log/pods /var/log/containers /var/log/kubernetes 2>/dev/null || true",
    "unit files": "systemctl list-unit-files --plain --no-legend | grep -v '^run-\\|^session-'",
    "units": "systemctl list-units --plain --no-legend --state=running,failed | cut -d' ' -f1 "
    "| grep -v 'session\\|user'",
    "sysctls": "sysctl -a 2>/dev/null | grep '^net[.]' | grep -v 'conntrack_count\\|nf_conntrack_max' | sort",
    "mounts": r"sed -E 's/^[0-9]+ [0-9]+ [0-9:]+ (.*) - .*/\1/; s/shared:[0-9]+/shared/; s/master:[0-9]+/master/' "
    "/proc/1/mountinfo | sort",
    "interfaces": "ip -o link | cut -d: -f2 | cut -d@ -f1 | sort",
    "routes": "ip route; ip -6 route",
    "packages": "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\\n'",
    "users": "getent passwd; getent group",
    "control groups": "find /sys/fs/cgroup -name 'kubepods*'",
    "processes": "ps -eo comm= | grep -c 'containerd\\|kube\\|etcd\\|pause' || true",
}


def look(host: BareHost) -> dict[str, list[str]]:
    """All that is compared."""
    seen = {what: host.root(script).splitlines() for what, script in LOOKS.items()}
    pid = podman("inspect", "--format", "{{.State.Pid}}", host.name).strip()
    ruleset = ["nsenter", "--target", pid, "--net", "nft", "list", "ruleset"]
    seen["nftables"] = subprocess.run(ruleset, capture_output=True, text=True, check=True).stdout.splitlines()
    return seen


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """Lines that went (-) and came (+), by what was looked at."""
    found = {
        what: [f"- {line}" for line in before[what] if line not in set(after[what])]
        + [f"+ {line}" for line in after[what] if line not in set(before[what])]
        for what in before
    }
    return {what: lines for what, lines in found.items() if lines}


@dataclass
class Lab:
    """The hosts, labctl, and what the hosts were."""

    cli: Cli
    hosts: dict[str, BareHost]
    before: dict[str, dict[str, list[str]]]

    def configure(self, **more: object) -> None:
        """labctl.yml, with `more` keys."""
        hosts = {
            name: {"address": host.address, "role": "control-plane" if name == "one" else "worker"}
            for name, host in ((name, self.hosts[self.real(name)]) for name in SUITES)
        }
        first = self.hosts[self.real("one")]
        ssh = {"user": USER, "key": str(first.key), "known_hosts": str(first.known_hosts)}
        tree = {"name": self.cli.lab, "provider": "hosts", "timing": "drill", "ssh": ssh, "hosts": hosts, **more}
        (self.cli.cwd / "labctl.yml").write_text(yaml.safe_dump(tree))

    def real(self, name: str) -> str:
        """The container's name."""
        return f"{self.cli.lab}-{name}"

    def playbook(self, name: str, *words: str) -> str:
        """By hand, on the lab's inventory; returns the output."""
        inventory = self.cli("inventory", "--path").strip()
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, paths.playbook(name), *words],
            env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    """Three hosts and a labctl.yml that names them; nothing is up yet."""
    name = f"h-{os.getpid()}"
    cwd = home / name
    with bare_hosts(cwd, {f"{name}-{short}": suite for short, suite in SUITES.items()}) as hosts:
        found = Lab(Cli(name, home, cwd), hosts, {})
        found.configure()
        found.before = {host.name: look(host) for host in hosts.values()}
        yield found


@pytest.fixture(scope="module")
def up(lab: Lab) -> Lab:
    """The lab, up."""
    result = lab.cli.json("up")
    assert [node["name"] for node in result["nodes"]] == ["one", "three", "two"], "by name, as kubectl"
    assert all(node["ready"] for node in result["nodes"])
    return lab


def test_the_page_answers_on_each_machine(up: Lab) -> None:
    for host in up.hosts.values():
        answer = urllib3.request("GET", f"http://{host.address}:30080/", timeout=5.0)
        assert b"ello" in answer.data
    versions = {host.root("cat /etc/debian_version").split(".")[0] for host in up.hosts.values()}
    assert versions == {"12", "13"}


def test_a_second_up_changes_nothing(up: Lab) -> None:
    assert up.cli.json("up")["changed"] == 0


def test_all_checks_pass(up: Lab) -> None:
    report = up.cli.json("verify")
    assert [result for result in report["results"] if result["status"] in ("failed", "error")] == []


def test_commands_reach_the_machines(up: Lab) -> None:
    assert up.cli("ssh", "two", "--", "id", "-un").strip() == USER, "a shell of the user's"
    assert up.cli.kubectl("get", "nodes", "-o", "name").split() == ["node/one", "node/three", "node/two"]
    seen = up.cli.json("status")
    assert seen["provider"] == "hosts"
    assert {node["power"] for node in seen["nodes"]} == {"on"}
    assert seen["broken"] == []
    with tarfile.open(up.cli.json("logs", "--into", str(up.cli.cwd))["archive"]) as archive:
        journals = {member.name.split("/")[1]: member.size for member in archive if member.name.endswith("journal.log")}
    assert set(journals) == set(SUITES)
    assert all(size > 1000 for size in journals.values()), "journalctl was run as root"


def test_a_pod_has_a_port_of_a_machine_whose_own_nft_is_old(up: Lab) -> None:
    """nft of Debian 12 crashes at kube-proxy's sets: portmap, and labctl's own rules, need another."""
    two = up.hosts[up.real("two")]
    container = {
        "name": "page",
        "image": "localhost/helloworld:1",
        "ports": [{"containerPort": 8080, "hostPort": 18080}],
    }
    spec = {"nodeName": "two", "containers": [container], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "page"}, "spec": spec}
    (up.cli.cwd / "pod.json").write_text(json.dumps(pod))
    up.cli.kubectl("apply", "-f", str(up.cli.cwd / "pod.json"))
    up.cli.kubectl("wait", "--for=condition=Ready", "pod/page", "--timeout=60s")
    two.root("systemctl restart labctl-network")
    up.cli.kubectl("delete", "pod", "page", "--timeout=60s")
    assert two.root("/usr/sbin/nft --version").startswith("nftables v1.0.6")


def test_the_playbooks_work_by_hand_on_its_inventory(up: Lab) -> None:
    for words in ((), ("--check", "--diff"), ("--limit", "one,three"), ("--limit", "three"), ("--tags", "prepare")):
        recap = [line for line in up.playbook("up.yml", *words).splitlines() if "unreachable=" in line]
        assert recap
        assert all("changed=0 " in line for line in recap), (words, recap)
    would_go = up.playbook("reset.yml", "--check", "--diff", "--limit", "two")
    assert "-/etc/labctl: removed" in would_go
    assert "-package conntrack: removed" in would_go
    assert json.loads(up.cli.kubectl("get", "node", "two", "-o", "json"))["metadata"]["name"] == "two"


def test_what_only_a_container_can_is_refused(up: Lab) -> None:
    up.cli("stop", code=2)
    assert up.cli.last is not None
    assert "not labctl's to switch" in up.cli.last.stderr


@pytest.mark.parametrize("words", [["drill", "kubelet-stop"], ["drill", "worker-poweroff"], ["down"]])
def test_without_consent_nothing_is_touched(words: list[str], up: Lab) -> None:
    up.cli(*words, code=2)
    assert up.cli.last is not None
    assert "labctl did not make them" in up.cli.last.stderr
    assert "consent: {" in up.cli.last.stderr
    for host in up.hosts.values():
        assert host.root("systemctl is-active kubelet").strip() == "active"


def test_a_drill_that_cuts_the_power_needs_a_switch(up: Lab) -> None:
    up.configure(consent={"drills": True})
    up.cli("drill worker-poweroff", code=2)
    assert up.cli.last is not None
    assert "CanPowerOff" in up.cli.last.stderr


def test_with_power_commands_a_worker_dies_and_returns(up: Lab) -> None:
    real = f"{up.cli.lab}-{{name}}"
    power = {
        "off": ["podman", "kill", real],
        "on": ["podman", "start", real],
        "status": ["podman", "inspect", "--format", "{{{{.State.Status}}}}", real],
    }
    up.configure(consent={"drills": True}, power=power)
    assert up.cli.json("up")["changed"] == 0
    verdict = up.cli.json("drill", "worker-poweroff")
    assert verdict["verdict"] == "pass", verdict
    assert up.cli.json("status")["broken"] == []


def test_down_returns_the_machines_as_they_were_found(up: Lab) -> None:
    two = up.hosts[up.real("two")]
    two.root("echo mine > /etc/default/mine; mkdir -p /opt/mine; echo mine > /opt/mine/file")
    up.configure(consent={"reset": True})
    assert up.cli.json("down")["removed"] == ["one", "three", "two"], "by name"
    for host in up.hosts.values():
        found = differences(up.before[host.name], look(host))
        if host is two:
            assert two.root("cat /etc/default/mine /opt/mine/file").split() == ["mine", "mine"]
            found = {w: [li for li in lines if "/mine" not in li] for w, lines in found.items()}
            found = {what: lines for what, lines in found.items() if lines}
        assert found == {}, host.suite
    assert "nothing to do" in up.cli("down")


def test_after_it_they_become_a_cluster_again(up: Lab) -> None:
    """By a person's own inventory, with further variables; and given back once more."""
    hosts = {name: up.hosts[up.real(name)] for name in SUITES}
    tree = {
        "all": {
            "vars": {
                "ansible_user": USER,
                "ansible_become": True,
                "ansible_ssh_private_key_file": str(hosts["one"].key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={hosts['one'].known_hosts}",
                "node_open_ports": ["9/tcp"],
            }
        },
        **{
            group: {"hosts": {name: {"ansible_host": hosts[name].address, "node_address": hosts[name].address}}}
            for group, name in (("control_planes", "one"), ("workers", "two"))
        },
    }
    (up.cli.cwd / "mine.yml").write_text(yaml.safe_dump(tree))
    (up.cli.cwd / "labctl.yml").write_text(
        f"name: {up.cli.lab}\nprovider: hosts\ninventory: mine.yml\ntiming: drill\nconsent: {{reset: true}}\n"
    )
    assert [node["name"] for node in up.cli.json("up")["nodes"]] == ["one", "two"]
    assert "node_open_ports" in up.cli("inventory")
    assert up.cli.json("up")["changed"] == 0
    up.cli("down")
    for name in ("one", "two"):
        assert "kubelet" not in look(hosts[name])["units"]
