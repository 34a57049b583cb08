"""What this host allows a machine in a container: cgroup version, limits, capabilities. Looked up, never assumed."""

from __future__ import annotations

import os
import re
import resource
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from labctl import process

CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
_WANTED_FILES = 1048576
_WANTED_PROCESSES = 65536
_NETLINK_NETFILTER = 12
_NFT_SUBSYSTEM = 10
_NFT_MSG_GETGEN = 16

LEAST_FILES = 4096
"""Open files that one process of a machine must be able to have: containerd and the API server need more than 1024."""

INOTIFY_WANTED = {"max_user_instances": 512, "max_user_watches": 524288}
"""fs.inotify below these ends in "too many open files" once a few kubelets run (kind documents the same figures)."""

BRIDGES_ARE_FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
CGROUPS = Path("/sys/fs/cgroup")
USERS = Path("/proc/self/uid_map")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


@dataclass(frozen=True)
class HostFacts:
    """`cgroup` is 2 or 1 (1 also for hybrid); limits are the hard ones that a child can have."""

    cgroup: int
    max_files: int
    max_processes: int
    can_sys_admin: bool
    can_sys_resource: bool


def why_not() -> str:
    """Why no container here can be a machine; empty on Linux."""
    if sys.platform == "linux":
        return ""
    name = "macOS" if sys.platform == "darwin" else sys.platform
    return f"containers that are machines need Linux, and this is {name}"


def look() -> HostFacts:
    """The facts of this host, now."""
    capabilities = _capabilities()
    # The kernel asks for this one outside of user namespaces.
    can_raise = bool(capabilities & 1 << CAP_SYS_RESOURCE) and not in_user_namespace()
    return HostFacts(
        cgroup=2 if (CGROUPS / "cgroup.controllers").exists() else 1,
        max_files=_limit(resource.RLIMIT_NOFILE, _WANTED_FILES, can_raise=can_raise),
        # podman lowers its own limit to kernel.pid_max before it starts a container.
        max_processes=min(
            _limit(resource.RLIMIT_NPROC, _WANTED_PROCESSES, can_raise=can_raise),
            int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")),
        ),
        can_sys_admin=bool(capabilities & 1 << CAP_SYS_ADMIN),
        can_sys_resource=can_raise,
    )


def run_arguments(facts: HostFacts) -> list[str]:
    """What any container needs on this host: limits that can be had, and a runtime that takes a hybrid hierarchy."""
    words = ["--ulimit", f"nofile={facts.max_files}:{facts.max_files}"]
    words += ["--ulimit", f"nproc={facts.max_processes}:{facts.max_processes}"]
    # crun refuses cgroup v1 and hybrid hosts.
    return [*words, "--runtime", "runc"] if facts.cgroup == 1 else words


def in_user_namespace() -> bool:
    """Whether users here are others on the host, as in rootless podman's containers."""
    return USERS.read_text(encoding="ascii").split() != ["0", "0", "4294967295"]


def delegated(uid: int) -> set[str]:
    """The cgroup v2 controllers that this host hands to the user `uid`, as rootless containers need it."""
    file = _user_manager(uid) / "cgroup.controllers"
    return set(file.read_text(encoding="ascii").split()) if file.exists() else set()


def has_user_manager(uid: int) -> bool:
    """Whether the systemd of the user `uid` runs, and this shell can ask it for the machines' cgroups."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return _user_manager(uid).is_dir() and runtime is not None and (Path(runtime) / "bus").exists()


def _user_manager(uid: int) -> Path:
    return CGROUPS / f"user.slice/user-{uid}.slice/user@{uid}.service"


def drops_between_pods() -> bool:
    """Whether this host's firewall drops what a bridge carries between addresses that it does not know, such as pods'.

    It does where a docker is too: that sets the policy and lets the firewall see bridges (br_netfilter).
    """
    if not BRIDGES_ARE_FILTERED.exists() or BRIDGES_ARE_FILTERED.read_text(encoding="ascii").strip() == "0":
        return False
    if not process.has("iptables"):
        return False
    rules = process.run(["iptables", "-S", "FORWARD"], check=False).stdout
    return "-P FORWARD DROP" in rules and "--physdev-is-bridged -j ACCEPT" not in rules


def resolv_conf() -> str:
    """The host's resolver settings for a machine: a nameserver on loopback is out of a machine's reach."""
    for file in RESOLVERS:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        kept = [line for line in lines if not re.match(r"\s*(#|;|nameserver\s+(127\.|::1))", line)]
        if any(line.split()[:1] == ["nameserver"] for line in kept):
            return "\n".join(kept) + "\n"
    return "nameserver 8.8.8.8\n"  # what podman and docker fall back to


def inotify_too_small() -> dict[str, int]:
    """The fs.inotify settings below what a lab needs, with the value that it needs."""
    folder = Path("/proc/sys/fs/inotify")
    return {name: wanted for name, wanted in INOTIFY_WANTED.items() if int((folder / name).read_text()) < wanted}


def has_nftables() -> bool:
    """Whether the kernel answers nftables' netlink: kube-proxy's rules go there. Asks for the ruleset's generation."""
    if sys.platform != "linux":
        return False
    kind = _NFT_SUBSYSTEM << 8 | _NFT_MSG_GETGEN
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    header = struct.pack("=IHHII", 16 + len(body), kind, 1, 1, 0)  # length, kind, NLM_F_REQUEST, number, port
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.settimeout(5)
            netlink.send(header + body)
            answer = netlink.recv(4096)
    except OSError:
        return False
    return int(struct.unpack_from("=H", answer, 4)[0]) >> 8 == _NFT_SUBSYSTEM


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all."""
    return Path("/proc/net/if_inet6").exists()


def why_no_vxlan() -> str:
    """Why the kernel makes no vxlan device; empty if it does. Tried in a network namespace that goes with the try."""
    try_it = ["unshare", "--net", "ip", "link", "add", "labctl", "type", "vxlan", "id", "1", "dstport", "4789"]
    done = process.run(try_it, check=False)
    return "" if done.code == 0 else (done.stderr.strip().splitlines() or ["no reason was given"])[-1]


def _limit(kind: int, wanted: int, *, can_raise: bool) -> int:
    hard = resource.getrlimit(kind)[1]
    return wanted if can_raise or hard == resource.RLIM_INFINITY else min(hard, wanted)


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
