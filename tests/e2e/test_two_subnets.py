"""Machines of two subnets with a router between, from plain Debian to a cluster with cni: vxlan, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
import yaml

from tests.e2e.bare_hosts import USER, BareHost, bare_hosts, behind_a_router, in_network
from tests.e2e.conftest import Cli
from tests.e2e.test_hosts import differences, look

pytestmark = pytest.mark.slow  # bare machines install everything and unpack all images

SUBNETS = {"one": 0, "two": 1, "three": 0}
_WAY = """
[Unit]
Before=network-online.target
[Service]
Type=oneshot
ExecStart=/sbin/ip route replace default via {four}
ExecStart=/sbin/ip route replace default via {six}
[Install]
WantedBy=network-online.target multi-user.target
"""


@dataclass
class Lab:
    """Three hosts, the router between them, and what the hosts were."""

    cli: Cli
    hosts: dict[str, BareHost]
    router: str
    family: str
    second: dict[str, str]
    """the hosts' IPv6 addresses"""
    before: dict[str, dict[str, list[str]]]

    def configure(self, **more: object) -> None:
        """labctl.yml, with `more` keys."""
        hosts: dict[str, dict[str, str]] = {name: {"address": host.address} for name, host in self.hosts.items()}
        hosts["one"]["role"] = "control-plane"
        for name, host in hosts.items() if self.family == "dual" else ():
            host["node_second_address"] = self.second[name]
        ssh = {"user": USER, "key": str(self.hosts["one"].key), "known_hosts": str(self.hosts["one"].known_hosts)}
        real = f"{self.cli.lab}-{{name}}"
        power = {
            "off": ["podman", "kill", real],
            "on": ["podman", "start", real],
            "status": ["podman", "inspect", "--format", "{{{{.State.Status}}}}", real],
        }
        consent = {"drills": True, "reset": True}
        tree = {"name": self.cli.lab, "provider": "hosts", "timing": "drill", "ssh": ssh, "hosts": hosts, **more}
        tree["networks"] = {"family": self.family}
        (self.cli.cwd / "labctl.yml").write_text(yaml.safe_dump({**tree, "power": power, "consent": consent}))


@pytest.fixture(scope="module", params=["ipv4", "dual"])
def lab(request: pytest.FixtureRequest, home: Path) -> Iterator[Lab]:
    """The hosts and a labctl.yml that names them; nothing is up yet."""
    name, third = f"s-{os.getpid()}-{request.param}", os.getpid() % 250
    cwd = home / name
    four = [f"10.204.{third}.0/24", f"10.205.{third}.0/24"]
    six = [f"fd00:204:{third}::/64", f"fd00:205:{third}::/64"]
    second = {short: f"{six[at].removesuffix('/64')}{n}" for n, (short, at) in enumerate(SUBNETS.items(), 11)}
    with behind_a_router(f"{name}-router", four, six) as networks:
        places = {
            f"{name}-{short}": (networks[at], f"{four[at].removesuffix('0/24')}{n}", second[short])
            for n, (short, at) in enumerate(SUBNETS.items(), 11)
        }
        with bare_hosts(cwd, dict.fromkeys(places, "trixie"), places) as made:
            hosts = {full.removeprefix(f"{name}-"): host for full, host in made.items()}
            for short, host in hosts.items():
                routers = {
                    "four": host.address.rpartition(".")[0] + ".254",
                    "six": second[short].rpartition(":")[0] + ":fe",
                }
                write = "cat > /etc/systemd/system/way.service; systemctl enable --now way.service"
                host.root(write, stdin=_WAY.format(**routers))
            found = Lab(Cli(name, home, cwd), hosts, f"{name}-router", request.param, second, {})
            found.before = {short: look(host) for short, host in hosts.items()}
            yield found


@pytest.fixture(scope="module")
def up(lab: Lab) -> Lab:
    """The lab, up."""
    lab.configure(cni="vxlan")
    assert all(node["ready"] for node in lab.cli.json("up")["nodes"])
    return lab


def test_routed_is_refused_before_anything_is_changed(lab: Lab) -> None:
    lab.configure(cni="routed")
    lab.cli("up", code=6)
    assert lab.cli.last is not None
    router = lab.hosts["one"].address.rpartition(".")[0] + ".254"
    assert f"The way to {lab.hosts['two'].address} leads through a router, {router}" in lab.cli.last.stderr
    for name, host in lab.hosts.items():
        assert differences(lab.before[name], look(host)) == {}, name
    lab.cli("down")


def test_the_page_answers_on_both_sides(up: Lab) -> None:
    addresses = [host.address for host in up.hosts.values()]
    addresses += [f"[{address}]" for address in up.second.values()] if up.family == "dual" else []
    for address in addresses:
        assert b"ello" in urllib3.request("GET", f"http://{address}:30080/", timeout=5.0).data
    routes = up.hosts["one"].root("ip route show 10.244.1.0/24").strip()
    assert routes == "10.244.1.0/24 via 10.244.1.0 dev labctl-vxlan onlink"


def test_a_second_up_changes_nothing(up: Lab) -> None:
    assert up.cli.json("up")["changed"] == 0


def test_all_checks_pass_with_large_packets_across(up: Lab) -> None:
    report = up.cli.json("verify", "--deep")
    assert [result for result in report["results"] if result["status"] in ("failed", "error")] == []
    done = {result["id"] for result in report["results"] if result["status"] == "passed"}
    assert {"CLUSTER-023", "CLUSTER-024", "CLUSTER-042", "NODE-046"} <= done


def test_a_router_that_carries_less_is_noticed(up: Lab) -> None:
    in_network(up.router, "ip", "link", "set", "in1", "mtu", "1400")
    try:
        (result,) = up.cli.json("verify", "--only", "CLUSTER-042", code=1)["results"]
        assert result["status"] == "failed"
        assert "one to two: 1500 bytes" in json.dumps(result)
    finally:
        in_network(up.router, "ip", "link", "set", "in1", "mtu", "1500")
    assert up.cli.json("verify", "--only", "CLUSTER-042")["results"][0]["status"] == "passed"


@pytest.mark.parametrize("drill", ["worker-poweroff", "partition"])
def test_a_worker_is_lost_and_returns(drill: str, up: Lab) -> None:
    verdict = up.cli.json("drill", drill)
    assert verdict["verdict"] == "pass", verdict
    assert up.cli.json("status")["broken"] == []


def test_down_returns_the_machines_as_they_were_found(up: Lab) -> None:
    up.cli("down")
    for name, host in up.hosts.items():
        assert differences(up.before[name], look(host)) == {}, name
