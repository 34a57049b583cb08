"""What containerd and the kubelet are told: they must agree with each other, and with the inventory."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import jinja2
import pytest
import yaml

from labctl import paths
from labctl.verify import Expect, check
from labctl.verify.node import Node, parts

CGROUPS = (
    "stat --file-system --format %T /sys/fs/cgroup; "
    "ls -d /sys/fs/cgroup/kubepods* /sys/fs/cgroup/memory/kubepods* 2>/dev/null || true"
)
MOST_SERVERS = 3


def timing_of(node: Node) -> tuple[str, dict[str, int]]:
    """The lab's timing and its figures, as the role has them."""
    variables = yaml.safe_load((paths.roles() / "control_plane" / "vars" / "main.yml").read_text(encoding="utf-8"))
    name = node.variables.get("lab_timing", "default")
    figures: dict[str, int] = variables["__control_plane_timings"][name]
    return name, figures


@check(
    "NODE-025",
    "containerd and the kubelet manage cgroups in the same way",
    why="Two managers of one tree undo each other's limits; the node becomes unstable under load "
    "(https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cgroup-drivers).",
    fix="set SystemdCgroup in /etc/containerd/config.toml: true with cgroup v2; systemctl restart containerd kubelet",
)
def test_cgroup_driver(node: Node, expect: Expect) -> None:
    kind, *groups = node.output(CGROUPS).split()
    runc = node.containerd["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]["runc"]
    wanted = "systemd" if runc["options"].get("SystemdCgroup", False) else "cgroupfs"
    seen = {"systemd" if path.endswith(".slice") else "cgroupfs" for path in groups}
    expect("driver of the pods that run", wanted, ", ".join(sorted(seen)))
    if kind == "cgroup2fs":
        expect("containerd's driver, with cgroup v2,", "systemd", wanted)


@check(
    "NODE-026",
    "images come the way that the inventory says",
    why="A mirror, proxy or certificate authority that is missing, or left over, makes pulls fail or go elsewhere.",
    fix="ansible-playbook playbooks/egress.yml with this lab's inventory",
)
def test_egress(node: Node, expect: Expect) -> None:
    command = (
        'echo "=== mirrors"; grep -rl "Written by labctl" /etc/containerd/certs.d 2>/dev/null; '
        'echo "=== proxy"; ls /etc/labctl/proxy.env 2>/dev/null; '
        'echo "=== authorities"; ls /usr/local/share/ca-certificates/labctl 2>/dev/null || true'
    )
    seen = {name: text.split() for name, text in parts(node.output(command)).items()}
    mirrors = node.variables.get("lab_registry_mirrors") or {}
    expect(
        "mirrored",
        sorted("_default" if name == "*" else name for name in mirrors),
        sorted(path.split("/")[-2] for path in seen["mirrors"]),
    )
    proxy = node.variables.get("lab_proxy") or {}
    expect("a proxy", bool(proxy.get("http") or proxy.get("https")), bool(seen["proxy"]))
    expect("authorities", len(node.variables.get("lab_ca_certificates") or []), len(seen["authorities"]))


@check(
    "NODE-027",
    "the kubelet tells that it is alive as often as the lab's timing says",
    why="How soon a dead node is noticed, which a drill predicts, begins here.",
    fix="compare /var/lib/kubelet/config.yaml and /etc/default/kubelet with lab_timing; systemctl restart kubelet",
)
def test_kubelet_timing(node: Node, expect: Expect) -> None:
    name, figures = timing_of(node)
    expect("nodeLeaseDurationSeconds", figures.get("lease", 0), node.kubelet.get("nodeLeaseDurationSeconds", 0))
    status = f"{figures['status']}s" if figures else "0s"
    expect("nodeStatusUpdateFrequency", status, node.kubelet.get("nodeStatusUpdateFrequency", "0s"))
    template = paths.roles() / "node_settings" / "templates" / "kubelet.env.j2"
    rendered = jinja2.Template(template.read_text(encoding="utf-8")).render(node_settings_timing=name)
    told = node.run("grep -h ^HTTP2_ /etc/default/kubelet").stdout
    expect("HTTP/2 timeouts", [line for line in rendered.split("\n") if line.startswith("HTTP2_")], told.split())


@check(
    "NODE-028",
    "the control plane gives nodes and pods as long as the lab's timing says",
    why="These decide when a node counts as dead, and when its pods are started elsewhere.",
    fix="compare /etc/kubernetes/manifests with lab_timing; kubeadm init phase control-plane writes them anew",
    on="control-plane",
)
def test_control_plane_timing(node: Node, expect: Expect) -> None:
    _, figures = timing_of(node)
    manager = flags(node, "kube-controller-manager")
    for flag, figure in (
        ("node-monitor-period", "monitor_period"),
        ("node-monitor-grace-period", "monitor_grace"),
    ):
        expect(flag, f"{figures[figure]}s" if figures else None, manager.get(flag))
    server = flags(node, "kube-apiserver")
    toleration = str(figures["toleration"]) if figures else None
    for reason in ("not-ready", "unreachable"):
        flag = f"default-{reason}-toleration-seconds"
        expect(flag, toleration, server.get(flag))


def flags(node: Node, name: str) -> dict[str, str]:
    """The arguments of a static pod's program."""
    manifest = node.manifests.get(f"{name}.yaml") or {}
    containers: list[dict[str, Any]] = manifest.get("spec", {}).get("containers", [{}])
    words = [word.removeprefix("--").partition("=") for word in containers[0].get("command", [])[1:]]
    return {key: value for key, _, value in words}


@check(
    "NODE-029",
    "the kubelet sends pods to the cluster's DNS",
    why="It writes this address into each pod that it starts: with another one, no pod finds a Service by its name.",
    fix="set clusterDNS and clusterDomain in /var/lib/kubelet/config.yaml; systemctl restart kubelet",
)
def test_cluster_dns(node: Node, expect: Expect) -> None:
    # kubeadm takes the tenth address of the Services' network.
    expect("clusterDNS", [str(node.service_network[10])], node.kubelet.get("clusterDNS"))
    expect("clusterDomain", "cluster.local", node.kubelet.get("clusterDomain"))


@check(
    "NODE-030",
    "the name servers that pods inherit can be reached from a pod",
    why="CoreDNS asks the node's name servers. 127.0.0.53 is itself there: it would ask itself until it stops "
    "(https://coredns.io/plugins/loop/). More than three are ignored.",
    fix="set resolvConf in /var/lib/kubelet/config.yaml to a file without loopback, such as "
    "/run/systemd/resolve/resolv.conf; systemctl restart kubelet",
)
def test_name_servers(node: Node, expect: Expect) -> None:
    path = node.kubelet.get("resolvConf", "/etc/resolv.conf")
    rows = [line.split() for line in node.output("cat %s", path).splitlines()]
    servers = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"]
    if not servers:
        pytest.skip(f"{path} names no servers: this lab resolves its own names only")
    expect.nothing(
        f"loopback in {path}", [server for server in servers if ip_address(server.split("%")[0]).is_loopback]
    )
    expect.within("name servers", f"{MOST_SERVERS} at most", servers, lambda found: len(found) <= MOST_SERVERS)


@check(
    "NODE-031",
    "the kubelet announces the address that the inventory gives",
    why="With several networks it would take that of the default route: the others then look for its pods, logs and "
    "metrics at the wrong address.",
    fix="set --node-ip in /var/lib/kubelet/kubeadm-flags.env; systemctl restart kubelet",
)
def test_node_address(node: Node, expect: Expect) -> None:
    arguments = node.output("cat /var/lib/kubelet/kubeadm-flags.env").replace('"', " ").split()
    told = [word.partition("=")[2] for word in arguments if word.startswith("--node-ip=")]
    expect("--node-ip", [",".join(node.addresses)], told)
    expect("interface with that address", True, bool(node.identity["MAC address"]))  # noqa: FBT003
