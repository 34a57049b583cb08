"""Machines without root, where the host hands the user what they need.

labctl runs itself in the engine's user namespace, where it is root and may read and remove the machines' disks, and in
the network where they have addresses. docker's daemon has both as long as it runs; podman makes them for who asks
(docs/adr/0005).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

from labctl import process
from labctl.errors import ProviderError
from labctl.providers import host
from labctl.providers.base import Problem
from labctl.providers.engine import DOCKER, PODMAN

CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}
"""What a kubelet sets on cgroup v2, https://kubernetes.io/docs/tasks/administer-cluster/kubelet-in-userns/."""

DROP_IN = "/etc/systemd/system/user@.service.d/delegate.conf"
LINGERING = Path("/var/lib/systemd/linger")
RANGES = (Path("/etc/subuid"), Path("/etc/subgid"))

_UID_OUTSIDE = {PODMAN: "_CONTAINERS_ROOTLESS_UID", DOCKER: "_LABCTL_ROOTLESS_UID"}
"""The user's number in the environment of labctl inside; podman sets its own."""
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_CLONE_NEWNET = 0x40000000  # setns(2)
_INSTALL = "sudo apt-get install -y"
_ROOT_INSTEAD = "or labctl with sudo"

USE_HOSTS = "provider: hosts in labctl.yml, with Linux machines that SSH reaches"
NEED_ROOT = "machines need root, for they run systemd and a kubelet"


def inside() -> str:
    """The engine in whose user namespace this labctl runs; empty if in none."""
    return next((engine for engine, name in _UID_OUTSIDE.items() if name in os.environ), "")


def ends_with_the_session() -> str:
    """The command that keeps the machines when this user logs out; empty if they are kept, and for root.

    https://www.freedesktop.org/software/systemd/man/latest/loginctl.html, enable-linger
    """
    if not inside():
        return ""
    user = pwd.getpwuid(int(os.environ[_UID_OUTSIDE[inside()]])).pw_name
    return "" if (LINGERING / user).exists() else f"loginctl enable-linger {user}"


def problems(engine: str) -> list[Problem]:
    """What keeps this user from machines in a rootless `engine`, all at once."""
    if elsewhere := host.why_not():
        return [Problem(elsewhere, USE_HOSTS)]
    if host.look().cgroup == 1:
        text = f"rootless {engine} would need cgroup v2, and this host has v1, which delegates no controller to users"
        return [Problem(f"{NEED_ROOT}: {text}", "sudo make lab, or labctl with sudo")]
    uid = os.geteuid()
    lacking = [*(_lacks_podman(uid) if engine == PODMAN else _lacks_docker()), *_lacks_delegation(uid)]
    return [Problem(f"{NEED_ROOT}, or rootless {engine}: {text}", f"{fix}; {_ROOT_INSTEAD}") for text, fix in lacking]


def enter(wanted: str, arguments: list[str]) -> None:
    """Become root in the user namespace of `wanted`, an engine or ``auto``, with the same command line.

    Returns if that cannot be: then `problems` says why.
    """
    for engine in _UID_OUTSIDE if wanted == "auto" else [wanted]:
        if not problems(engine):
            door = ["podman", "unshare"] if engine == PODMAN else _nsenter()
            # A user's PATH lacks what root's has, such as iptables.
            env = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"}
            if engine == DOCKER:
                env |= {_UID_OUTSIDE[DOCKER]: str(os.geteuid()), "DOCKER_HOST": f"unix://{_runtime() / 'docker.sock'}"}
            os.execvpe(door[0], [*door, sys.executable, "-m", "labctl", *arguments], env)  # noqa: S606


def _nsenter() -> list[str]:
    """The way into docker's namespaces: https://docs.docker.com/engine/security/rootless/troubleshoot/."""
    words = ["--user", "--preserve-credentials", "--mount", "--net", f"--wdns={Path.cwd()}"]
    return ["nsenter", f"--target={_docker_pid()}", *words]


def _docker_pid() -> str:
    """The number of a process in docker's namespaces; empty if it does not run."""
    file = _runtime() / "dockerd-rootless" / "child_pid"
    pid = file.read_text(encoding="ascii").strip() if file.exists() else ""
    return pid if pid and Path("/proc", pid).exists() else ""


def _runtime() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")


def join_network() -> None:
    """Bring this process into podman's machines' network, where it is not yet. Call it before there are threads.

    podman takes that network down when the last who uses it goes, which is not before this process ends: what it starts
    finds it as it is, also when all machines were off. Raises `ProviderError`.
    """
    if inside() != PODMAN:
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


def _lacks_podman(uid: int) -> Iterator[tuple[str, str]]:
    """What is not there, and the command that mends it."""
    for program, package in (("podman", "podman netavark"), ("newuidmap", "uidmap")):
        if not process.has(program):
            yield f"the program {program} is not installed", f"{_INSTALL} {package}"
    if not process.has("pasta") and not process.has("slirp4netns"):
        yield "neither pasta nor slirp4netns is installed", f"{_INSTALL} passt"
    user = pwd.getpwuid(uid).pw_name
    without = [str(file) for file in RANGES if not _has_range(file, user, uid)]
    if without:
        fix = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; podman system migrate"
        yield f"{user} has no range of users in {' and '.join(without)}", fix


def _lacks_docker() -> Iterator[tuple[str, str]]:
    if not process.has("docker"):
        yield "the program docker is not installed", f"{_INSTALL} docker.io rootlesskit slirp4netns uidmap"
    elif not _docker_pid():
        yield "no dockerd-rootless.sh of this user runs", "dockerd-rootless-setuptool.sh install, or provider: podman"


def _lacks_delegation(uid: int) -> Iterator[tuple[str, str]]:
    if not host.has_user_manager(uid):
        fix = (
            f"log in on a terminal or by ssh, not by su or sudo; or sudo machinectl shell {pwd.getpwuid(uid).pw_name}@"
        )
        yield f"user@{uid}.service, the user's own systemd, does not run or is not that of this shell", fix
        return
    lacking = sorted(CONTROLLERS - host.delegated(uid))
    if lacking:
        setting = f"printf '[Service]\\nDelegate={' '.join(sorted(CONTROLLERS))}\\n' | sudo tee {DROP_IN}"
        fix = f"sudo mkdir -p {Path(DROP_IN).parent} && {setting} && sudo systemctl daemon-reload, then log in anew"
        yield f"{', '.join(lacking)} not delegated to user@{uid}.service (cgroup v2)", fix


def _has_range(file: Path, user: str, uid: int) -> bool:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    return any(line.split(":")[0] in (user, str(uid)) for line in lines)
