"""File systems: how they are mounted, and what room there is."""

from __future__ import annotations

from labctl.verify import Expect, check
from labctl.verify.node import Node

KUBELET, CONTAINERD = "/var/lib/kubelet", "/var/lib/containerd"
HINDRANCES = {"ro", "noexec", "nosuid", "nodev"}
# MiB. /run is in memory: sockets, and what runc notes of each container.
ROOM = {"/": 500, "/run": 16, "/var/log": 100, KUBELET: 1000, CONTAINERD: 1000}
ROOM_OF_CONTROL_PLANES = {"/var/lib/etcd": 500}
INODES = 10_000


@check(
    "NODE-022",
    "mounts of the machine and of the kubelet are shared with pods",
    why="Otherwise a volume that is mounted later does not appear in pods that asked for it (mountPropagation), and "
    "one that is unmounted stays busy in them.",
    fix="systemctl restart labctl-node; or mount --make-rshared /",
)
def test_mounts_are_shared(node: Node, expect: Expect) -> None:
    for folder in ("/", KUBELET):
        seen = node.output("findmnt --noheadings --output PROPAGATION --target %s", folder).split()[-1]
        expect.within(f"propagation of {folder}", "shared", seen, lambda words: "shared" in words.split(","))


@check(
    "NODE-023",
    "containers can be run from the disks they are on",
    why="Images hold programs, some with setuid, and volumes may hold devices: noexec, nosuid or nodev break them.",
    fix="mount -o remount,exec,suid,dev MOUNT; and in /etc/fstab",
)
def test_disks_allow_programs(node: Node, expect: Expect) -> None:
    for folder in (KUBELET, CONTAINERD):
        words = node.output("findmnt --noheadings --output VFS-OPTIONS --target %s", folder).split()[-1].split(",")
        expect.nothing(f"hindrances at {folder}", sorted(HINDRANCES & set(words)))


@check(
    "NODE-024",
    "there is room on the disks, for bytes and for files",
    why="A lab's kubelet does not evict for want of disk (nodes may share one): a full disk stops etcd and pods.",
    fix="df -h; df -i; journalctl --vacuum-size=100M; ctr --namespace k8s.io images ls",
)
def test_room(node: Node, expect: Expect) -> None:
    wants = ROOM | (ROOM_OF_CONTROL_PLANES if node.is_control_plane else {})
    text = node.output(f"df --block-size=1M --output=itotal,iavail,avail {' '.join(wants)}")
    rows = [line.split() for line in text.splitlines()[1:]]
    for (folder, wanted), (files, free, room) in zip(wants.items(), rows, strict=True):
        # Some file systems do not count inodes.
        is_right = int(room) >= wanted and (files in ("0", "-") or int(free) >= INODES)
        expected = f"{wanted} MiB and {INODES} inodes at least"
        expect.that(f"free in {folder}", expected, f"{room} MiB, {free} inodes", is_right)
