"""Makes this process one on a machine that is no Linux, as far as labctl can tell: pytest -p tests.elsewhere.

What only Linux has is gone: files of /proc, /sys and /run, names of the standard library that macOS has not, and
programs other than those that a controller needs. Libraries are let be: they have their own ways on each system.
"""

from __future__ import annotations

import asyncio
import multiprocessing.resource_tracker
import os
import platform
import resource
import select
import signal
import socket
import sys
import sysconfig
import traceback
import urllib.request
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
from filelock import _identity, _util

# Libraries choose their ways when they are loaded, or first asked: by now they have.
LOADED = (asyncio, multiprocessing.resource_tracker, psutil, urllib.request, zoneinfo, _identity)
sysconfig.get_config_vars()
_util.exchange_supported()
ROOT = str(Path(__file__).resolve().parents[1])
ONLY_LINUX = (
    *("/proc", "/sys", "/run", "/var/lib/systemd", "/etc/subuid", "/etc/subgid"),
    *("/etc/os-release", "/usr/lib/os-release"),
)
PROGRAMS = {"ssh", "ssh-keygen", "sh", "git", "date", "kubectl", "ansible-playbook", "ansible-inventory"}
NAMES: dict[ModuleType, tuple[str, ...]] = {
    os: (
        *("sched_getaffinity", "sched_setaffinity", "setns", "unshare", "pidfd_open", "memfd_create", "eventfd"),
        *("splice", "copy_file_range", "posix_fadvise", "posix_fallocate"),
    ),
    signal: ("pidfd_send_signal", "sigwaitinfo", "sigtimedwait"),
    socket: ("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "SO_BINDTODEVICE", "SO_MARK"),
    select: ("epoll",),
    resource: ("prlimit",),
}
"""https://docs.python.org/3/library/os.html and its siblings, "Availability: Linux"."""


def pretend() -> None:
    """From now on. Nothing takes it back: it is for a process of its own."""
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
    for name, answer in (("system", "Darwin"), ("machine", "arm64"), ("mac_ver", ("15.5", ("", "", ""), "arm64"))):
        setattr(platform, name, lambda answer=answer: answer)
    for name in ("stat", "lstat"):
        setattr(os, name, _without_linux(getattr(os, name)))
    sys.addaudithook(_watch)


def _without_linux(look: Callable[..., object]) -> Callable[..., object]:
    def there(path: object, *args: object, **more: object) -> object:
        if _is_only_linux(path) and _is_labctl():
            raise FileNotFoundError(2, "No such file or directory (this is no Linux)", str(path))
        return look(path, *args, **more)

    return there


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and _is_only_linux(arguments[0]) and _is_labctl():
        raise FileNotFoundError(2, "No such file or directory (this is no Linux)", str(arguments[0]))
    if event == "subprocess.Popen" and _is_labctl():
        program = Path(str(arguments[0])).name
        if program not in PROGRAMS and not program.startswith("python"):
            raise FileNotFoundError(2, "No such program (this is no Linux)", program)


def _is_only_linux(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    text = os.fsdecode(path)
    return any(text == place or text.startswith(f"{place}/") for place in ONLY_LINUX)


def _is_labctl() -> bool:
    """Whether labctl's own code asks, not a library's."""
    for frame, _ in traceback.walk_stack(sys._getframe(2)):
        file = frame.f_code.co_filename
        if file.startswith((f"{ROOT}/labctl/", f"{ROOT}/tests/")) and file != __file__:
            return True
        if "site-packages" in file:
            return False
    return False


pretend()
