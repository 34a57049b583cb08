"""What node_settings writes for the pod network: rendered, and run in network namespaces with a router between."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles" / "node_settings"
ON_NODE = Path(__file__).parents[1] / "cluster" / "on_node.py"
HOSTS: dict[str, dict[str, Any]] = {
    "one": {"node_address": "192.0.2.11", "node_pod_subnet": "10.244.0.0/24"},
    "two": {"node_address": "198.51.100.12", "node_pod_subnet": "10.244.1.0/24"},
}
SECOND = {
    "one": {"node_second_address": "fd00:1::11", "node_pod_subnet": "10.244.0.0/24,fd00:10:244::/64"},
    "two": {"node_second_address": "fd00:2::12", "node_pod_subnet": "10.244.1.0/24,fd00:10:244:1::/64"},
}
DUAL = {name: HOSTS[name] | SECOND[name] for name in HOSTS}
SIX: dict[str, dict[str, Any]] = {
    "one": {"node_address": "fd00:1::11", "node_pod_subnet": "fd00:10:244::/64"},
    "two": {"node_address": "fd00:2::12", "node_pod_subnet": "fd00:10:244:1::/64"},
}
PODS = {4: "10.244.0.0/16", 6: "fd00:10:244::/56"}
WIRES = {
    "one": [("192.0.2.1", "192.0.2.11", 24), ("fd00:1::1", "fd00:1::11", 64)],
    "two": [("198.51.100.1", "198.51.100.12", 24), ("fd00:2::1", "fd00:2::12", 64)],
}
"""To each machine: the router's address, the machine's, and the length of the prefix."""


def ways(hostvars: dict[str, dict[str, Any]], machines: list[str]) -> list[dict[str, str]]:
    """The role's filter."""
    file = ROLE / "filter_plugins" / "node_settings.py"
    spec = importlib.util.spec_from_file_location("node_settings", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[dict[str, str]] = module.FilterModule().filters()["node_settings_ways"](hostvars, machines)
    return found


def subnets(hosts: dict[str, dict[str, Any]], name: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(subnet) for subnet in hosts[name]["node_pod_subnet"].split(",")]


def render(name: str, template: str, hosts: dict[str, dict[str, Any]], cni: str = "vxlan", mtu: int = 0) -> str:
    """A file of the machine `name`, as Ansible would render it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 (no HTML)
    environment.filters["node_settings_ways"] = ways
    values: dict[str, Any] = {
        "inventory_hostname": name,
        "groups": {"control_planes": ["one"], "workers": ["two"]},
        "hostvars": hosts,
        "node_settings_cni": cni,
        "node_settings_mtu": mtu,
        "node_settings_pod_network": ",".join(PODS[subnet.version] for subnet in subnets(hosts, name)),
        **hosts[name],
    }
    for key in ("__node_settings_overhead", "__node_settings_vxlan"):
        value = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())[key]
        values[key] = environment.from_string(value).render(values) if isinstance(value, str) else value
    return environment.from_string((ROLE / "templates" / template).read_text()).render(values)


def test_the_ways_differ_and_stay_the_same() -> None:
    one, two = ways(HOSTS, ["one", "two"])
    assert (one["subnet"], one["address"], one["end"]) == ("10.244.0.0/24", "192.0.2.11", "10.244.0.0")
    assert one["link"] != two["link"]
    assert one["link"].startswith("02:")
    assert ways(dict(reversed(HOSTS.items())), ["two", "one"]) == [two, one]


def test_with_two_families_a_machine_is_named_once_for_each() -> None:
    four, six = (way for way in ways(DUAL, ["two"]))
    assert (four["subnet"], four["address"], four["ip"]) == ("10.244.1.0/24", "198.51.100.12", "-4")
    assert (six["subnet"], six["address"], six["ip"]) == ("fd00:10:244:1::/64", "fd00:2::12", "-6")
    assert four["machine"] == six["machine"] == "198.51.100.12"
    assert four["link"] == six["link"]


def test_routed_goes_by_the_machines_themselves() -> None:
    script = render("one", "network.sh.j2", DUAL, cni="routed")
    assert "\nip -4 route replace 10.244.1.0/24 via 198.51.100.12\n" in script
    assert "\nip -6 route replace fd00:10:244:1::/64 via fd00:2::12\n" in script
    assert "vxlan" not in script
    assert "\nmtu=$((mtu - 0))\n" in script
    assert "ipv6" not in render("one", "network.sh.j2", HOSTS), "nothing of IPv6 is touched where it is not asked for"


@pytest.mark.parametrize("hosts", [HOSTS, DUAL, SIX])
def test_the_configuration_of_pods_has_every_subnet_and_a_default_route_each(hosts: dict[str, dict[str, Any]]) -> None:
    ipam = json.loads(render("two", "10-labctl.conflist.j2", hosts))["plugins"][0]["ipam"]
    assert [entry["subnet"] for group in ipam["ranges"] for entry in group] == list(map(str, subnets(hosts, "two")))
    assert [route["dst"] for route in ipam["routes"]] == [
        "0.0.0.0/0" if subnet.version == 4 else "::/0" for subnet in subnets(hosts, "two")
    ]


def run(*words: str, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace, by the process that holds it; its addresses are in use at once (without DAD)."""
    words = [
        "unshare",
        "--net",
        "sh",
        "-c",
        "sysctl -qw net.ipv6.conf.default.accept_dad=0; ip link set lo up; echo; read _",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout
        it.stdout.readline()
        try:
            yield str(it.pid)
        finally:
            it.terminate()


def at(process: str, script: str) -> str:
    return run("nsenter", "--net", "--target", process, "sh", "-euc", script)


def join(first: str, second: str, names: tuple[str, str], ends: list[tuple[str, str]]) -> None:
    """A wire between two namespaces, with addresses (and the length of their prefixes) at both ends."""
    at(first, f"ip link add {names[0]} type veth peer name {names[1]} netns {second}")
    for process, name, addresses in zip((first, second), names, zip(*ends, strict=True), strict=True):
        adds = [f"ip address add {address} dev {name} nodad" for address in addresses]
        at(process, "; ".join([*adds, f"ip link set {name} up"]))


class Machines:
    """Two machines behind a router, with a pod in each, set up by the role's own script."""

    def __init__(self, stack: ExitStack, folder: Path, hosts: dict[str, dict[str, Any]]) -> None:
        self.folder, self.hosts = folder, hosts
        self.router, self.one, self.two = (stack.enter_context(namespace()) for _ in range(3))
        self.pods = {name: stack.enter_context(namespace()) for name in hosts}
        at(self.router, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        for name, process in (("one", self.one), ("two", self.two)):
            ends = [(f"{router}/{length}", f"{own}/{length}") for router, own, length in WIRES[name]]
            join(self.router, process, (f"to-{name}", "eth0"), ends)
            at(process, "sysctl -qw net.ipv4.ip_forward=1")  # as node_base does
            at(process, "; ".join(f"ip route add default via {router}" for router, _, _ in WIRES[name]))

    def settle(self, name: str, mtu: int = 0) -> int:
        """Run the script on a machine; returns what its pods send at most."""
        process, own = getattr(self, name), self.folder / name
        (own / "etc" / "labctl").mkdir(parents=True, exist_ok=True)
        (own / "etc/labctl/10-labctl.conflist").write_text(render(name, "10-labctl.conflist.j2", self.hosts))
        script = render(name, "network.sh.j2", self.hosts, mtu=mtu)
        at(process, script.replace("/etc/", f"{own}/etc/").replace("/var/lib/", f"{own}/var/lib/"))
        plugins = json.loads((own / "etc/cni/net.d/10-labctl.conflist").read_text())["plugins"]
        return int(plugins[0]["mtu"])

    def plug_in(self, name: str, mtu: int) -> list[str]:
        """The pod of a machine, wired as the plugin ptp does; returns its addresses."""
        process, pod = getattr(self, name), self.pods[name]
        pairs = [(subnet.network_address + 1, subnet.network_address + 2) for subnet in subnets(self.hosts, name)]
        join(process, pod, ("pod", "eth0"), [(str(ip_network(one)), str(ip_network(other))) for one, other in pairs])
        at(process, f"ip link set pod mtu {mtu}")
        at(pod, f"ip link set eth0 mtu {mtu}")
        for gateway, own in pairs:
            at(process, f"ip route add {own} dev pod")
            at(pod, f"ip route add {gateway} dev eth0; ip route add default via {gateway} dev eth0")
        return [str(own) for _, own in pairs]

    def echoes(self, process: str, address: str, size: int) -> bool:
        """Whether an uncut packet of that size comes back, asked as `labctl verify` does."""
        code = f"import runpy; print(runpy.run_path('{ON_NODE}')['_comes_back']('{address}', {size}))"
        return at(process, f'/usr/bin/python3 -c "{code}"').strip() == "True"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    with ExitStack() as held:
        yield held


@pytest.mark.parametrize(("hosts", "size"), [(HOSTS, 1450), (DUAL, 1450), (SIX, 1430)], ids=["ipv4", "dual", "ipv6"])
def test_pods_of_two_subnets_talk_with_packets_of_full_size(
    hosts: dict[str, dict[str, Any]], size: int, stack: ExitStack, tmp_path: Path
) -> None:
    machines = Machines(stack, tmp_path, hosts)
    assert [machines.settle(name) for name in hosts] == [size, size]
    assert [machines.settle(name) for name in hosts] == [size, size], "again, as after a restart of the unit"
    one, two = (machines.plug_in(name, size) for name in hosts)
    for mine, theirs in zip(one, two, strict=True):
        assert machines.echoes(machines.pods["one"], theirs, size)
        assert machines.echoes(machines.pods["two"], mine, size)
        assert machines.echoes(machines.one, theirs, size), "machines reach pods, and find the way back"
        assert not machines.echoes(machines.pods["one"], theirs, size + 1)
    assert machines.echoes(machines.one, hosts["two"]["node_address"], 1500)


def test_a_router_that_carries_less_is_found_out_and_can_be_told(stack: ExitStack, tmp_path: Path) -> None:
    machines = Machines(stack, tmp_path, HOSTS)
    at(machines.router, "ip link set to-two mtu 1400")
    assert [machines.settle(name) for name in HOSTS] == [1450, 1450], "nobody on the machine can know"
    assert machines.echoes(machines.one, "198.51.100.12", 84)
    assert not machines.echoes(machines.one, "198.51.100.12", 1450 + 50), "what CLUSTER-042 sends"
    assert [machines.settle(name, mtu=1400) for name in HOSTS] == [1350, 1350]
    assert machines.echoes(machines.one, "198.51.100.12", 1350 + 50)
