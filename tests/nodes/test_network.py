"""The node's part of the pod network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from labctl.verify import Expect, check
from labctl.verify.gather import SETTLES_S, awaited
from labctl.verify.node import Node


def plugins_of(text: str) -> list[dict[str, Any]]:
    """The plugins of a CNI configuration; none if it cannot be read."""
    try:
        config = json.loads(text)
    except ValueError:
        return []
    plugins: list[dict[str, Any]] = config.get("plugins", [config] if "type" in config else [])
    return plugins


def only_own(node: Node) -> None:
    if not node.has_own_network:
        pytest.skip("the pod network is not labctl's (lab_cni)")


@check(
    "NODE-043",
    "there is one CNI configuration, and it can be read",
    why="containerd takes the first by name: one that an earlier network add-on left behind may win, after a restart.",
    fix="remove all but the right one from /etc/cni/net.d; systemctl restart labctl-network writes labctl's",
)
def test_one_configuration(node: Node, expect: Expect) -> None:
    expect.within("configurations", "one", list(node.cni), lambda names: len(names) == 1)
    expect.nothing("unreadable", [name for name, text in node.cni.items() if not plugins_of(text)])


@check(
    "NODE-044",
    "the CNI plugins that the configuration names are installed",
    why="Without one of them no pod gets an address: it stays in ContainerCreating.",
    fix="ansible-playbook playbooks/prepare.yml with this lab's inventory installs them to /opt/cni/bin",
)
def test_plugins(node: Node, expect: Expect) -> None:
    if not node.cni:
        pytest.skip("there is no CNI configuration (NODE-043)")
    plugins = plugins_of(next(iter(node.cni.values())))
    named = {"loopback", *(one["type"] for one in plugins), *(one["ipam"]["type"] for one in plugins if "ipam" in one)}
    folders = node.containerd["io.containerd.cri.v1.runtime"]["cni"]["bin_dirs"]
    there = node.run(f"find {' '.join(['%s'] * len(folders))} -type f -perm -100", *folders).stdout.split()
    expect.within("named", "plugins", named, lambda names: len(names) > 1)
    expect.nothing("missing", sorted(named - {path.rpartition("/")[2] for path in there}))


@check(
    "NODE-045",
    "pods of this node get addresses of its own subnet",
    why="The other nodes route this node's subnet here, and no other: a pod with another address is unreachable.",
    fix="systemctl restart labctl-network writes the configuration anew",
)
def test_pod_subnet(node: Node, expect: Expect) -> None:
    only_own(node)
    ranges = [
        entry["subnet"]
        for text in node.cni.values()
        for plugin in plugins_of(text)
        for group in plugin.get("ipam", {}).get("ranges", [])
        for entry in group
    ]
    expect("subnets of pods", node.pod_subnets, ranges)
    for own, whole in zip(node.pod_subnets, node.pod_networks, strict=True):
        inside = ip_network(own).subnet_of(ip_network(whole))  # type: ignore[arg-type] # both of one family
        expect(f"{own} within {whole}", True, inside)  # noqa: FBT003


def gateway_to(other: Node, subnet: str) -> str:
    """By what a machine's pods are reached from another machine: by itself, or by its end of the vxlan."""
    network = ip_network(subnet)
    if other.variables.get("lab_cni") == "vxlan":
        return str(network.network_address)
    return next(address for address in other.addresses if ip_address(address).version == network.version)


def is_inside(route: str, subnets: Iterable[str]) -> bool:
    """Whether a route's destination is a part of one of the subnets, and not all of it."""
    if route == "default":
        return False
    part = ip_network(route)
    return any(
        part.prefixlen > whole.prefixlen and part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type] # both of one family
        for whole in map(ip_network, subnets)
    )


@check(
    "NODE-046",
    "the node knows the way to the other nodes' pods",
    why="Without such a route its pods do not reach those of that node; all else looks well.",
    fix="systemctl restart labctl-network sets the routes; ip route del takes a stranger's away",
)
def test_routes(node: Node, nodes: dict[str, Node], expect: Expect) -> None:
    only_own(node)
    others = [other for other in nodes.values() if other.name != node.name]
    if not others:
        pytest.skip("there are no other nodes")
    seen = {route["dst"]: route.get("gateway", route.get("dev")) for route in node.routes}
    wanted = {subnet: gateway_to(other, subnet) for other in others for subnet in other.pod_subnets}
    expect("routes", wanted, {subnet: seen.get(subnet) for subnet in wanted})
    expect.nothing("more exact routes, which take the traffic", [dst for dst in seen if is_inside(dst, wanted)])
    if node.variables.get("lab_cni") == "vxlan":
        entries = json.loads(node.run("bridge -json fdb show dev labctl-vxlan").stdout or "[]")
        ends = {entry.get("dst") for entry in entries}
        expect.nothing("machines that the vxlan does not lead to", [o.name for o in others if o.address not in ends])


@check(
    "NODE-047",
    "the node has a default route",
    why="Pods, and containerd that pulls their images, reach everything outside by it; kubeadm looks at it too.",
    fix="ip route add default via GATEWAY; and in the machine's network settings",
)
def test_default_route(node: Node, expect: Expect) -> None:
    gateways = [route.get("gateway", route.get("dev")) for route in node.routes if route["dst"] == "default"]
    expect.within("default route via", "a gateway", gateways, bool)


@check(
    "NODE-048",
    "pods that talk to the outside do so with the node's address",
    why="Nobody outside knows the way back to a pod's address: requests go out, answers never come.",
    fix="systemctl restart labctl-network writes the table anew",
)
def test_masquerading(node: Node, expect: Expect) -> None:
    only_own(node)
    for own, whole in zip(node.pod_subnets, node.pod_networks, strict=True):
        family = family_of(own)
        rules = [line.strip() for line in node.run(f"nft list table {family} labctl").stdout.splitlines()]
        wanted = f"{family} saddr {own} {family} daddr != {whole} masquerade"
        expect(f"rules of the table {family} labctl", [wanted], [rule for rule in rules if "masquerade" in rule])


def family_of(network: object) -> str:
    """What nftables calls the family of a network's addresses."""
    return "ip6" if ":" in str(network) else "ip"


def services_in_table(node: Node) -> tuple[str, list[str]]:
    """Why kube-proxy's table cannot be read, if so; and address and port of each Service in it."""
    done = node.run(f"nft --json list map {family_of(node.service_network)} kube-proxy service-ips")
    if done.rc != 0:
        return done.stderr.strip().splitlines()[0], []
    elements = [
        element for one in json.loads(done.stdout)["nftables"] for element in one.get("map", {}).get("elem", [])
    ]
    return "", [f"{key['concat'][0]} {key['concat'][2]}" for key, _ in elements]


@check(
    "NODE-049",
    "kube-proxy's rules for the API's Service are there",
    why="Pods reach the API, and all Services, by rules that kube-proxy writes on each node; who else writes rules "
    "(a firewall's reload, nft flush ruleset) wipes them out unnoticed.",
    fix="delete this node's kube-proxy pod in kube-system: it writes its rules anew as it starts",
)
def test_services_rules(node: Node, expect: Expect) -> None:
    api = f"{node.service_network[1]} 443"
    # A worker that has just joined is Ready before its kube-proxy has written anything.
    problem, services = awaited(lambda: services_in_table(node), lambda seen: 0 if api in seen[1] else SETTLES_S)
    expect("kube-proxy's table", "there", problem or "there")
    expect.that(f"{api} in {len(services)} Services' ports", "yes", api in services, api in services)


@check(
    "NODE-050",
    "nothing listens beyond loopback but SSH and Kubernetes",
    why="What listens there can be reached by all pods, and by the network of the machine.",
    fix="ss -tulpn says who listens; end it, bind it to 127.0.0.1, or name it in the inventory's node_open_ports",
)
def test_open_ports(node: Node, expect: Expect) -> None:
    allowed = {"10250/tcp kubelet", "10256/tcp kube-proxy"}
    if node.is_control_plane:
        allowed |= {"6443/tcp kube-apiserver", "2379/tcp etcd", "2380/tcp etcd"}
    if node.variables.get("lab_cni") == "vxlan":
        allowed.add("4789/udp unknown")  # the kernel's, no program's
    meant = set(node.variables.get("node_open_ports", []))
    seen = [listener(line) for line in node.output("ss -tulpnH").splitlines()]
    outside = {(port, programs) for address, port, programs in seen if not is_loopback(address)}
    unknown = {
        f"{port} {' '.join(sorted(programs))}"
        for port, programs in outside
        if port not in meant
        and not is_health_of_service(port, programs)
        and not programs & ALWAYS
        and not any(f"{port} {program}" in allowed for program in programs)
    }
    expect.within("listeners", "the kubelet and more", len(outside), lambda count: count > 1)
    expect.nothing("others", sorted(unknown))


def is_health_of_service(port: str, programs: frozenset[str]) -> bool:
    """Whether kube-proxy listens there for a load balancer: the healthCheckNodePort of a Service of that kind."""
    number, _, protocol = port.partition("/")
    return "kube-proxy" in programs and protocol == "tcp" and int(number) in NODE_PORTS


# kubeadm's default (--service-node-port-range).
NODE_PORTS = range(30000, 32768)
# SSH is how labctl and Ansible come in, wherever it listens; DHCP clients must.
ALWAYS = {"sshd", "dhclient", "dhcpcd", "systemd-network", "NetworkManager"}


def listener(line: str) -> tuple[str, str, frozenset[str]]:
    """Address, port/protocol and programs of a line of `ss -tulpnH`."""
    words = line.split()
    address, _, port = words[4].rpartition(":")
    return address, f"{port}/{words[0]}", frozenset(re.findall(r'\("([^"]+)",pid=', line) or ["unknown"])


def is_loopback(address: str) -> bool:
    """Whether only the machine itself gets there."""
    return address.startswith("127.") or address in ("[::1]", "[::ffff:127.0.0.1]") or address.endswith("%lo")
