"""Machines without root, where the host hands the user what they need.

labctl runs itself inside `podman unshare`: there it is root of podman's user namespace, and may read and remove the
machines' disks. Of podman's own session it enters the network alone, where they have addresses (docs/adr/0005).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from labctl import process
from labctl.errors import ProviderError
from labctl.providers import host
from labctl.providers.base import Problem

CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}
"""What a kubelet sets on cgroup v2, https://kubernetes.io/docs/tasks/administer-cluster/kubelet-in-userns/."""

DROP_IN = "/etc/systemd/system/user@.service.d/delegate.conf"
LINGERING = Path("/var/lib/systemd/linger")
RANGES = (Path("/etc/subuid"), Path("/etc/subgid"))

_UID_OUTSIDE = "_CONTAINERS_ROOTLESS_UID"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_CLONE_NEWNET = 0x40000000  # setns(2)
_INSTALL = "sudo apt-get install -y"
_ROOT_INSTEAD = "or labctl with sudo"

NEED_ROOT = "machines need root, for they run systemd and a kubelet"


def is_inside() -> bool:
    """Whether this labctl runs in podman's user namespace."""
    return _UID_OUTSIDE in os.environ


def ends_with_the_session() -> str:
    """The command that keeps the machines when this user logs out; empty if they are kept, and for root.

    https://www.freedesktop.org/software/systemd/man/latest/loginctl.html, enable-linger
    """
    if not is_inside():
        return ""
    user = pwd.getpwuid(int(os.environ[_UID_OUTSIDE])).pw_name
    return "" if (LINGERING / user).exists() else f"loginctl enable-linger {user}"


def problems() -> list[Problem]:
    """What keeps this user from machines without root, all at once."""
    if host.look().cgroup == 1:
        text = "rootless podman would need cgroup v2, and this host has v1, which delegates no controller to users"
        return [Problem(f"{NEED_ROOT}: {text}", "sudo make lab, or labctl with sudo")]
    return list(_lacking(os.geteuid()))


def enter(arguments: list[str]) -> NoReturn:
    """Become root of podman's user namespace, with the same command line. Call it if there are no `problems`."""
    words = ["podman", "unshare", sys.executable, "-m", "labctl", *arguments]
    # A user's PATH lacks what root's has, such as iptables.
    os.execvpe(words[0], words, {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"})  # noqa: S606


def join_network() -> None:
    """Bring this process into the machines' network; nothing for root. Call it before there are threads.

    podman takes that network down when the last who uses it goes, which is not before this process ends: what it starts
    finds it as it is, also when all machines were off. Raises `ProviderError`.
    """
    if not is_inside():
        return
    pid = process.companion(["podman", "unshare", "--rootless-netns", "sh", "-c", "echo $$; exec cat"])
    if not pid:
        raise ProviderError("podman could not make the machines' network", "podman unshare --rootless-netns true")
    _set_network(Path(f"/proc/{pid}/ns/net"))


def _set_network(namespace: Path) -> None:
    # os.setns came with Python 3.12.
    with namespace.open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))


def _lacking(uid: int) -> Iterator[Problem]:
    for program, package in (("podman", "podman netavark"), ("newuidmap", "uidmap")):
        if not process.has(program):
            yield _problem(f"the program {program} is not installed", f"{_INSTALL} {package}")
    if not process.has("pasta") and not process.has("slirp4netns"):
        yield _problem("neither pasta nor slirp4netns is installed", f"{_INSTALL} passt")
    user = pwd.getpwuid(uid).pw_name
    without = [str(file) for file in RANGES if not _has_range(file, user, uid)]
    if without:
        fix = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        yield _problem(f"{user} has no range of users in {' and '.join(without)}", f"{fix}; podman system migrate")
    if not host.has_user_manager(uid):
        text = f"user@{uid}.service, the user's own systemd, does not run or is not that of this shell"
        yield _problem(text, f"log in on a terminal or by ssh, not by su or sudo; or sudo machinectl shell {user}@")
        return
    lacking = sorted(CONTROLLERS - host.delegated(uid))
    if lacking:
        setting = f"printf '[Service]\\nDelegate={' '.join(sorted(CONTROLLERS))}\\n' | sudo tee {DROP_IN}"
        fix = f"sudo mkdir -p {Path(DROP_IN).parent} && {setting} && sudo systemctl daemon-reload, then log in anew"
        yield _problem(f"{', '.join(lacking)} not delegated to user@{uid}.service (cgroup v2)", fix)


def _problem(text: str, fix: str) -> Problem:
    return Problem(f"{NEED_ROOT}, or rootless podman: {text}", f"{fix}; {_ROOT_INSTEAD}")


def _has_range(file: Path, user: str, uid: int) -> bool:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    return any(line.split(":")[0] in (user, str(uid)) for line in lines)
