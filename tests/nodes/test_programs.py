"""Programs and images: those of the bundle, and nobody else's."""

from __future__ import annotations

import re
from typing import Any

import pytest

from labctl.verify import Expect, check
from labctl.verify.node import Node

VERSIONS = {
    "containerd": "containerd --version",
    "runc": "runc --version",
    "kubelet": "kubelet --version",
    "kubeadm": "kubeadm version --output short",
}
ASKED = "; ".join(f'echo "=== {command}"; {command}' for command in VERSIONS.values())
ASKED_EARLY = (ASKED,)
# What kubeadm, the kubelet, kube-proxy, containerd and the CNI plugins call.
CALLED = ("conntrack", "ethtool", "ip", "losetup", "mount", "nft", "nsenter", "socat", "sysctl", "umount")


def bundle_of(node: Node) -> dict[str, Any]:
    if node.bundle is None:
        pytest.skip("lab_bundle is not on this machine")
    return node.bundle


def images_of(node: Node) -> set[str]:
    if node.images is None:
        pytest.skip("containerd does not answer (NODE-002)")
    return node.images


@check(
    "NODE-007",
    "the programs have the versions of the bundle",
    why="Nodes of unlike versions behave unlike, and beyond Kubernetes' version skew policy not at all.",
    fix="ansible-playbook playbooks/prepare.yml with this lab's inventory installs the bundle's programs",
)
def test_versions(node: Node, expect: Expect) -> None:
    wanted = {program["name"]: program["version"] for program in bundle_of(node)["programs"]}
    told = node.output(ASKED)
    for name, command in VERSIONS.items():
        found = re.search(r"\bv?(\d+\.\d+\.\d+\S*)", told.split(f"=== {command}\n")[1])
        expect(name, wanted[name], found[1] if found else "no version")


@check(
    "NODE-008",
    "the programs are those of the bundle, bit by bit",
    why="A program that was changed or half copied fails in ways that its version does not explain.",
    fix="ansible-playbook playbooks/prepare.yml with this lab's inventory installs the bundle's programs",
    deep=True,
)
def test_checksums(node: Node, expect: Expect) -> None:
    folders = {"bin": "/usr/local/bin", "cni": "/opt/cni/bin"}
    sums = {}
    for program in bundle_of(node)["programs"]:
        folder, name = program["path"].split("/")
        sums[f"{folders[folder]}/{name}"] = program["sha256"]
    text = node.run("sha256sum " + " ".join(sums)).stdout
    seen = dict(reversed(line.split(maxsplit=1)) for line in text.splitlines())
    # etcdctl and the like are for the controller.
    there = {path: checksum for path, checksum in sums.items() if path in seen or path.startswith("/opt")}
    expect.within("programs compared", "the four of a node at least", len(there), lambda count: count >= len(VERSIONS))
    expect.nothing("others than the bundle's", [path for path in there if seen.get(path) != sums[path]])


@check(
    "NODE-009",
    "containerd and the kubelet run from the files that are installed",
    why="After an installation without a restart the old program runs on, until a reboot changes it by surprise.",
    fix="systemctl restart UNIT",
)
def test_running_programs_are_installed(node: Node, expect: Expect) -> None:
    for unit in ("containerd", "kubelet"):
        pid = node.units[unit]["MainPID"]
        if pid == "0":
            pytest.skip(f"{unit} does not run (NODE-001)")
        expect(unit, f"/usr/local/bin/{unit}", node.output(f"readlink /proc/{pid}/exe").strip())


@check(
    "NODE-010",
    "root alone can change the programs",
    why="Who can write to a program that root runs is root.",
    fix="chown root:root FILE; chmod go-w FILE",
)
def test_programs_are_roots(node: Node, expect: Expect) -> None:
    others = r"\( ! -user root -o -perm /022 \)"
    found = node.output(rf"find /usr/local/bin /opt/cni /opt/cni/bin -maxdepth 1 ! -type l {others}")
    # A folder is found from itself, and from the one above it.
    expect.nothing("files that others can change", list(dict.fromkeys(found.split())))


@check(
    "NODE-011",
    "the commands that Kubernetes calls are installed",
    why="Without nft kube-proxy writes no rules, without conntrack old connections outlive their Service, without "
    "socat or nsenter containerd forwards no ports; each is missed only when it is needed.",
    fix="ansible-playbook playbooks/prepare.yml with this lab's inventory installs them",
)
def test_commands(node: Node, expect: Expect) -> None:
    # Debian's sh answers for the first of several names only.
    found = node.run("; ".join(f"command -v {name}" for name in CALLED)).stdout
    there = {path.rpartition("/")[2] for path in found.split()}
    expect.nothing("missing", sorted(set(CALLED) - there))


@check(
    "NODE-012",
    "the bundle's images are on the node",
    why="There may be no registry to pull them from: a pod that is moved here would wait for ever.",
    fix="rm /etc/labctl/images on the node, then ansible-playbook playbooks/prepare.yml with this lab's inventory",
)
def test_images(node: Node, expect: Expect) -> None:
    wanted = {image["ref"] for image in bundle_of(node)["images"]}
    expect.nothing("missing", sorted(wanted - images_of(node)))


@check(
    "NODE-013",
    "containerd's pause image is the bundle's, and is on the node",
    why="Every pod begins with it. containerd pulls the one that its configuration names, whatever else is there, "
    "and the image collector spares no other.",
    fix="set pinned_images.sandbox in /etc/containerd/config.toml; systemctl restart containerd",
)
def test_pause_image(node: Node, expect: Expect) -> None:
    named = node.containerd["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"]
    expect("named", [image["ref"] for image in bundle_of(node)["images"] if "/pause:" in image["ref"]], [named])
    expect("on the node", True, named in images_of(node))  # noqa: FBT003
