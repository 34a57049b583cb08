"""The kernel, as pods and the kubelet need it."""

from __future__ import annotations

import time

import pytest

from labctl.topology import INOTIFY_INSTANCES
from labctl.verify import Expect, check
from labctl.verify.node import Node

# kubelet: setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go.
KUBELETS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}
CLOCK_OFF_S = 1.0


@check(
    "NODE-014",
    "the kernel forwards packets",
    why="Between the pods of two nodes each node is a router; without forwarding pods reach their own node only.",
    fix="systemctl restart labctl-node, and for IPv6 labctl-network; or sysctl net.ipv4.ip_forward=1, "
    "net.ipv6.conf.all.forwarding=1; a single interface: sysctl net.ipv4.conf.NAME.forwarding=1",
)
def test_packets_are_forwarded(node: Node, expect: Expect) -> None:
    expect("net.ipv4.ip_forward", "1", node.kernel["net/ipv4/ip_forward"])
    link = node.identity["link"]
    if link and ":" not in node.address:
        seen = node.run("cat /proc/sys/net/ipv4/conf/%s/forwarding", link).stdout.strip()
        expect(f"net.ipv4.conf.{link}.forwarding", "1", seen)
    if any(":" in network for network in node.pod_networks):
        expect("net.ipv6.conf.all.forwarding", "1", node.kernel.get("net/ipv6/conf/all/forwarding"))


@check(
    "NODE-015",
    "packets that cross a bridge meet the rules of Services",
    why="Otherwise, with a network add-on that has a bridge, pods do not reach Services whose pods are beside them.",
    fix="sysctl --load=/etc/sysctl.d/98-kubernetes-bridge.conf; or sysctl net.bridge.bridge-nf-call-iptables=1",
)
def test_bridges_are_filtered(node: Node, expect: Expect) -> None:
    seen = node.kernel.get("net/bridge/bridge-nf-call-iptables")
    if seen is None:
        pytest.skip("this kernel filters no bridges (br_netfilter)")
    expect("net.bridge.bridge-nf-call-iptables", "1", seen)


@check(
    "NODE-016",
    "the kernel is set as the kubelet wants it",
    why="The kubelet sets these as it starts, and with protectKernelDefaults it would not start at all; where they "
    "were changed since, a node may hang after a kernel fault instead of starting anew.",
    fix="systemctl restart kubelet",
)
def test_kubelets_settings(node: Node, expect: Expect) -> None:
    if node.is_in_user_namespace:
        pytest.skip("a machine without root on its host does not set that host's kernel")
    expect("settings", KUBELETS, {name: node.kernel.get(name) for name in KUBELETS})


@check(
    "NODE-017",
    "there are inotify instances for all nodes of this kernel",
    why='containerd, the kubelet and many programs in pods take some each; then they fail with "too many open files".',
    fix="sysctl fs.inotify.max_user_instances=8192, on the host where nodes are containers; and in /etc/sysctl.d",
)
def test_inotify(node: Node, others: list[Node], expect: Expect) -> None:
    boot = "kernel/random/boot_id"
    beside = [other for other in others if other.kernel[boot] == node.kernel[boot]]
    wanted = sum(INOTIFY_INSTANCES["control-plane" if each.is_control_plane else "worker"] for each in (node, *beside))
    seen = int(node.kernel["fs/inotify/max_user_instances"])
    expect.within("fs.inotify.max_user_instances", f"{wanted} at least", seen, lambda limit: limit >= wanted)


@check(
    "NODE-018",
    "there is room in the table of connections",
    why="When it is full, the kernel drops packets of new connections: everything is slow, nothing says why.",
    fix="sysctl net.netfilter.nf_conntrack_max; conntrack -L | head shows who holds so many",
)
def test_connections(node: Node, expect: Expect) -> None:
    count, most = (int(node.kernel.get(f"net/netfilter/nf_conntrack_{word}", "0")) for word in ("count", "max"))
    if not most:
        pytest.skip("this kernel tracks no connections, or does not limit them")
    expect.within(f"connections of {most}", "nine tenths at most", count, lambda used: used <= most * 0.9)


@check(
    "NODE-019",
    "the kernel counts and limits what pods take",
    why="The kubelet needs these cgroup controllers to hold pods to their limits and to count for the scheduler.",
    fix="cgroup_enable=memory on the kernel's command line, or delegate the controllers to the machine",
)
def test_cgroup_controllers(node: Node, expect: Expect) -> None:
    text = node.output("cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || cat /proc/cgroups")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    # Version 1 has a line each: name, hierarchy, number of groups, whether it is enabled.
    seen = {row[0] for row in rows if row[3:] == ["1"] and row[1] != "0"} if text.startswith("#") else set(rows[0])
    expect("controllers", CONTROLLERS, seen & CONTROLLERS)


@check(
    "NODE-020",
    "swap is off, or the kubelet is told to live with it",
    why="Where swap is on, a kubelet with failSwapOn does not start again.",
    fix="swapoff --all, and take it out of /etc/fstab; or failSwapOn: false in /var/lib/kubelet/config.yaml",
)
def test_swap(node: Node, expect: Expect) -> None:
    swaps = [line.split()[0] for line in node.output("cat /proc/swaps").splitlines()[1:]]
    if not swaps:
        expect.nothing("swap", swaps)
        return
    # A container sees its host's swap, which is not its own to turn off.
    is_own = node.run("systemd-detect-virt --container --quiet").rc != 0
    if is_own and "swap" not in node.variables.get("lab_leave_alone", []):
        expect.nothing("swap", swaps)
    expect(f"failSwapOn, with swap on {', '.join(swaps)},", False, node.kubelet.get("failSwapOn", True))  # noqa: FBT003


@check(
    "NODE-021",
    "the clock agrees with that of this machine",
    why="Certificates and tokens are valid by the clock, and etcd warns from one second on: what happened first on "
    "two nodes cannot be told any more.",
    fix="timedatectl set-ntp true; chronyc tracking",
)
def test_clock(node: Node, expect: Expect) -> None:
    before = time.time()
    there = float(node.output("date +%s.%N"))
    after = time.time()
    # It was read somewhen in between.
    off = max(before - there, there - after, 0.0)
    expect.within("seconds off", f"less than {CLOCK_OFF_S}", round(off, 3), lambda seconds: seconds < CLOCK_OFF_S)
