"""The control plane's pods, which the kubelet runs from files."""

from __future__ import annotations

from typing import Any

from labctl.verify import Expect, check
from labctl.verify.node import Node

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@check(
    "NODE-041",
    "the kubelet runs the four pods of a control plane from files, and none on a worker",
    why="What has no file there does not run; and every file there is run, whatever its name: a copy such as "
    "etcd.yaml.bak is started beside, or instead.",
    fix="move other files out of /etc/kubernetes/manifests; a missing one is written by kubeadm init phase "
    "control-plane scheduler (apiserver, controller-manager; kubeadm init phase etcd local) "
    "--config /etc/labctl/kubeadm.yml",
)
def test_manifests(node: Node, expect: Expect) -> None:
    wanted = [f"{name}.yaml" for name in CONTROL_PLANE] if node.is_control_plane else []
    expect(f"files in {node.kubelet['staticPodPath']}", wanted, list(node.manifests))
    expect.nothing("unreadable", [name for name, manifest in node.manifests.items() if not manifest])


@check(
    "NODE-042",
    "the control plane runs as its manifests say, from the bundle's images",
    why="What was edited and not taken up, or started by hand, behaves otherwise than the files tell.",
    fix="journalctl -u kubelet says why a manifest is not taken up; end what was started by hand",
    on="control-plane",
)
def test_what_runs(node: Node, expect: Expect) -> None:
    lines = [line.strip() for line in node.output("ps -ww -e -o args=").splitlines()]
    images = {image["ref"] for image in node.bundle["images"]} if node.bundle else None
    for name in CONTROL_PLANE:
        container = container_of(node, name)
        wanted = " ".join(container.get("command", []))
        seen = [line for line in lines if line.split()[0].rpartition("/")[2] == name]
        is_right = seen == [wanted]
        expect.that(
            name,
            "one, as in its manifest",
            "one, as in its manifest" if is_right else differences(wanted, seen),
            is_right,
        )
        if images is not None:
            expect.within(f"image of {name}", "one of the bundle's", container.get("image"), images.__contains__)


def container_of(node: Node, name: str) -> dict[str, Any]:
    """The first container of a static pod."""
    manifest = node.manifests.get(f"{name}.yaml") or {}
    containers: list[dict[str, Any]] = manifest.get("spec", {}).get("containers", [{}])
    return containers[0]


def differences(wanted: str, seen: list[str]) -> str:
    """What is there in place of the one that is wanted, as short as it can be said."""
    if len(seen) != 1:
        return f"{len(seen)} processes"
    more, less = set(seen[0].split()) - set(wanted.split()), set(wanted.split()) - set(seen[0].split())
    return f"with {' '.join(sorted(more)) or 'nothing'} in place of {' '.join(sorted(less)) or 'nothing'}"
