"""What node_settings writes for the pod network: rendered, and run in network namespaces with a router between."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
GATEWAYS = {"one": "192.0.2.1", "two": "198.51.100.1"}


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


def render(name: str, template: str, cni: str = "vxlan", mtu: int = 0) -> str:
    """A file of the machine `name`, as Ansible would render it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 (no HTML)
    environment.filters["node_settings_ways"] = ways
    values: dict[str, Any] = {
        "inventory_hostname": name,
        "groups": {"control_planes": ["one"], "workers": ["two"]},
        "hostvars": HOSTS,
        "node_settings_cni": cni,
        "node_settings_mtu": mtu,
        "node_settings_pod_network": "10.244.0.0/16",
        **HOSTS[name],
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


def test_routed_goes_by_the_machines_themselves() -> None:
    script = render("one", "network.sh.j2", cni="routed")
    assert "\nip route replace 10.244.1.0/24 via 198.51.100.12\n" in script
    assert "vxlan" not in script
    assert "\nmtu=$((mtu - 0))\n" in script


def run(*words: str, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace, by the process that holds it."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; read _"], stdin=-1, stdout=-1
    ) as it:
        assert it.stdout
        it.stdout.readline()
        try:
            yield str(it.pid)
        finally:
            it.terminate()


def at(process: str, script: str) -> str:
    return run("nsenter", "--net", "--target", process, "sh", "-euc", script)


def join(first: str, second: str, names: tuple[str, str], addresses: tuple[str, str]) -> None:
    """A wire between two namespaces."""
    (name, other), (address, far) = names, addresses
    at(
        first,
        f"ip link add {name} type veth peer name {other} netns {second}; ip address add {address} dev {name}; "
        f"ip link set {name} up",
    )
    at(second, f"ip address add {far} dev {other}; ip link set {other} up")


class Machines:
    """Two machines behind a router, with a pod in each, set up by the role's own script."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder = folder
        self.router, self.one, self.two = (stack.enter_context(namespace()) for _ in range(3))
        self.pods = {name: stack.enter_context(namespace()) for name in HOSTS}
        at(self.router, "sysctl -qw net.ipv4.ip_forward=1")
        for name, process in (("one", self.one), ("two", self.two)):
            join(
                self.router,
                process,
                (f"to-{name}", "eth0"),
                (f"{GATEWAYS[name]}/24", f"{HOSTS[name]['node_address']}/24"),
            )
            at(process, f"sysctl -qw net.ipv4.ip_forward=1; ip route add default via {GATEWAYS[name]}")

    def settle(self, name: str, mtu: int = 0) -> int:
        """Run the script on a machine, and plug its pod in; returns what its pods send at most."""
        process, own = getattr(self, name), self.folder / name
        (own / "etc" / "labctl").mkdir(parents=True, exist_ok=True)
        (own / "etc/labctl/10-labctl.conflist").write_text(render(name, "10-labctl.conflist.j2"))
        script = render(name, "network.sh.j2", mtu=mtu)
        at(process, script.replace("/etc/", f"{own}/etc/").replace("/var/lib/", f"{own}/var/lib/"))
        plugins = json.loads((own / "etc/cni/net.d/10-labctl.conflist").read_text())["plugins"]
        return int(plugins[0]["mtu"])

    def plug_in(self, name: str, mtu: int) -> str:
        """The pod of a machine, wired as the plugin ptp does; returns its address."""
        first = HOSTS[name]["node_pod_subnet"].removesuffix("0/24")
        process, pod = getattr(self, name), self.pods[name]
        join(process, pod, ("pod", "eth0"), (f"{first}1/32", f"{first}2/32"))
        at(process, f"ip link set pod mtu {mtu}; ip route add {first}2 dev pod")
        at(pod, f"ip link set eth0 mtu {mtu}; ip route add {first}1 dev eth0; ip route add default via {first}1")
        return f"{first}2"

    def echoes(self, process: str, address: str, size: int) -> bool:
        """Whether an uncut packet of that size comes back, asked as `labctl verify` does."""
        code = f"import runpy; print(runpy.run_path('{ON_NODE}')['_comes_back']('{address}', {size}))"
        return at(process, f'/usr/bin/python3 -c "{code}"').strip() == "True"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    with ExitStack() as stack:
        yield Machines(stack, tmp_path)


def test_pods_of_two_subnets_talk_with_packets_of_full_size(machines: Machines) -> None:
    sizes = [machines.settle(name) for name in HOSTS]
    assert sizes == [1450, 1450]
    assert [machines.settle(name) for name in HOSTS] == sizes, "again, as after a restart of the unit"
    addresses = {name: machines.plug_in(name, 1450) for name in HOSTS}
    assert machines.echoes(machines.pods["one"], addresses["two"], 1450)
    assert machines.echoes(machines.pods["two"], addresses["one"], 1450)
    assert machines.echoes(machines.one, addresses["two"], 1450), "machines reach pods, and find the way back"
    assert machines.echoes(machines.one, "198.51.100.12", 1500)
    assert not machines.echoes(machines.pods["one"], addresses["two"], 1451)


def test_a_router_that_carries_less_is_found_out_and_can_be_told(machines: Machines) -> None:
    at(machines.router, "ip link set to-two mtu 1400")
    assert [machines.settle(name) for name in HOSTS] == [1450, 1450], "nobody on the machine can know"
    assert machines.echoes(machines.one, "198.51.100.12", 84)
    assert not machines.echoes(machines.one, "198.51.100.12", 1450 + 50), "what CLUSTER-042 sends"
    assert [machines.settle(name, mtu=1400) for name in HOSTS] == [1350, 1350]
    assert machines.echoes(machines.one, "198.51.100.12", 1350 + 50)
