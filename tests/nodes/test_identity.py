"""Who a machine is: itself, and nobody else."""

from __future__ import annotations

import pytest

from labctl.verify import Expect, check
from labctl.verify.node import Node

OWN = ("machine-id", "hostname", "MAC address", "product UUID")


@check(
    "NODE-032",
    "the machine's hostname is the node's name",
    why="The kubelet registers as its hostname and may write to no other node: after a change it is refused.",
    fix="hostnamectl set-hostname NAME; or --hostname-override=NAME in /var/lib/kubelet/kubeadm-flags.env",
)
def test_hostname(node: Node, expect: Expect) -> None:
    arguments = node.output("cat /var/lib/kubelet/kubeadm-flags.env").replace('"', " ").split()
    told = [word.partition("=")[2] for word in arguments if word.startswith("--hostname-override=")]
    expect(
        "hostname" if not told else "--hostname-override", node.name, (told or [node.identity["hostname"].lower()])[0]
    )


@check(
    "NODE-033",
    "no other node has this machine's identity",
    why="Cloned machines share machine-id, product UUID or MAC address: DHCP, some network add-ons and the journal mix "
    "them up (https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/"
    "#verify-mac-address).",
    fix="rm /etc/machine-id; systemd-machine-id-setup; for MAC address and UUID: the settings of the virtual machine",
)
def test_identity(node: Node, others: list[Node], expect: Expect) -> None:
    own = node.identity
    expect.that("machine-id", "one", own["machine-id"], bool(own["machine-id"]))
    for other in others:
        # Machines of one kernel see the hardware of one host.
        alike = OWN[:3] if other.identity["boot"] == own["boot"] else OWN
        same = [what for what in alike if own[what] and own[what] == other.identity[what]]
        expect.nothing(f"in common with {other.name}", same)


@check(
    "NODE-034",
    "all nodes trust the same certificate authority",
    why="A machine that was left over from another cluster, or joined before it was made anew, trusts the wrong one.",
    fix="kubeadm reset on this machine, then labctl up, or playbooks/up.yml",
)
def test_authority(node: Node, nodes: dict[str, Node], expect: Expect) -> None:
    first = nodes[min(node.variables["groups"]["control_planes"])]
    if first.silence:
        pytest.skip(f"{first.name} does not answer (NODE-001)")
    trusted, seen = (one.identity["trusts"].partition("=")[2][:23] for one in (first, node))
    expect(f"fingerprint of pki/ca.crt, {trusted} on {first.name}", trusted, seen)
