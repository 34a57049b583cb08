"""What a lab will need of this host, by estimate, and what is free of it: said before anything is made.

The figures were measured on labs of two and three machines and rounded up: estimates, not promises.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from labctl import paths
from labctl.config import LabConfig
from labctl.config_machine import mebibytes
from labctl.errors import LabError
from labctl.providers.base import Problem
from labctl.providers.engine import Engine
from labctl.topology import INOTIFY_INSTANCES

_GB = 1e9
_MIB = 1024**2


@dataclass(frozen=True)
class _Share:
    """One machine's share."""

    memory_mib: int
    inotify: int
    files: int
    threads: int


_CONTROL_PLANE = _Share(memory_mib=600, inotify=INOTIFY_INSTANCES["control-plane"], files=1500, threads=250)
_WORKER = _Share(memory_mib=200, inotify=INOTIFY_INSTANCES["worker"], files=800, threads=150)

_BAKE_VAR_GB = 1.3
_BAKE_STORE_GB = 1.5
_MACHINE_GB = 0.35
"""A machine's own files, where it shares the rest with the node image by hard links."""
_LEAST_FREE_GB = 0.3
_USED_UP_GB = 0.1


@dataclass(frozen=True)
class Need:
    """`needed` of the thing `name` and what is `free` of it now; `fix` mends it if that is less."""

    name: str
    needed: float
    free: float
    unit: str
    fix: str
    where: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it suffices."""
        return self.free >= self.needed

    def __str__(self) -> str:
        digits = 1 if self.unit else 0
        return f"{self.free:.{digits}f}{self.unit} free{self.where}, about {self.needed:.{digits}f}{self.unit} needed"


def check(config: LabConfig, engine: Engine, *, running: int, is_baked: bool) -> list[Problem]:
    """A problem for each need that is not met, if `running` of the lab's machines are on already."""
    needs = look(config, engine, running=running, is_baked=is_baked)
    problems = [Problem(f"{need.name}: {need}", need.fix) for need in needs if not need.is_met]
    least = _CONTROL_PLANE.memory_mib
    memory = config.machine("cp-1").memory
    if memory and mebibytes(memory) < least:
        text = f"node.memory: {memory} is too little for a control plane, which takes about {least}Mi"
        problems.append(Problem(text, f"node: {{memory: {2 * least}Mi}} in labctl.yml"))
    return problems


def look(config: LabConfig, engine: Engine, *, running: int, is_baked: bool) -> list[Need]:
    """What the machines of `config` that are not on yet will need."""
    new = ([_CONTROL_PLANE] * config.control_planes + [_WORKER] * config.workers)[running:]
    fewer = "fewer --workers; or labctl down another lab"
    return [
        *_disks(len(new), engine, is_baked=is_baked),
        Need(
            "memory",
            sum(share.memory_mib for share in new) * _MIB / _GB,
            psutil.virtual_memory().available / _GB,
            " GB",
            f"close what takes memory; {fewer}",
        ),
        Need(
            "processes",
            sum(share.threads for share in new),
            min(_setting("kernel/pid_max"), _setting("kernel/threads-max")) - _threads(),
            "",
            f"sudo sysctl -w kernel.pid_max=4194304 kernel.threads-max=1000000; {fewer}",
        ),
        Need(
            "file handles",
            sum(share.files for share in new),
            _setting("fs/file-max") - _setting("fs/file-nr"),
            "",
            f"sudo sysctl -w fs.file-max=1000000; {fewer}",
        ),
        Need(
            "inotify instances",
            sum(share.inotify for share in new),
            _setting("fs/inotify/max_user_instances") - _inotify_in_use(),
            "",
            f"sudo sysctl -w fs.inotify.max_user_instances=8192; {fewer}",
        ),
    ]


def used_up(engine: Engine) -> list[str]:
    """What this host has run out of by now, a sentence each: the cause of whatever failed, as a rule."""
    found = []
    for folder in {_disk_of(path): path for path in (paths.node_images(), _store(engine), paths.home())}.values():
        free = shutil.disk_usage(_existing(folder)).free
        if free < _USED_UP_GB * _GB:
            found.append(f"No space left on device: {free / _GB:.2f} GB are free at {_existing(folder)}.")
    free = psutil.virtual_memory().available
    if free < _USED_UP_GB * _GB:
        found.append(f"Out of memory: {free / _GB:.2f} GB are free.")
    return found


def _disks(new: int, engine: Engine, *, is_baked: bool) -> Iterator[Need]:
    """One need for each disk: cache, engine's store and labs may lie on one or on three."""
    links = _disk_of(paths.node_images()) == _disk_of(paths.home())
    wanted = [
        (paths.node_images(), 0.0 if is_baked else _BAKE_VAR_GB),
        (_store(engine), 0.0 if is_baked else _BAKE_STORE_GB),
        (paths.home(), new * (_MACHINE_GB if links else _BAKE_VAR_GB)),
    ]
    disks: dict[int, list[tuple[Path, float]]] = {}
    for folder, needed in wanted:
        disks.setdefault(_disk_of(folder), []).append((folder, needed))
    for parts in disks.values():
        folder = _existing(parts[0][0])
        needed = sum(needed for _, needed in parts)
        yield Need(
            "disk",
            needed + _LEAST_FREE_GB,
            shutil.disk_usage(folder).free / _GB,
            " GB",
            "free some space there, or move LABCTL_HOME and XDG_CACHE_HOME to a larger disk",
            f" at {folder}",
        )


def _store(engine: Engine) -> Path:
    try:
        return engine.store()
    except LabError:  # it is not there or does not work, which preflight says
        return paths.cache()


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _disk_of(path: Path) -> int:
    return _existing(path).stat().st_dev


def _setting(name: str) -> int:
    return int(Path("/proc/sys", name).read_text(encoding="ascii").split()[0])


def _threads() -> int:
    """How many there are on this host."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[2])


def _inotify_in_use() -> int:
    """Instances of all processes: the limit is per user, and all machines are root's."""
    used = 0
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            used += descriptor.readlink().name == "anon_inode:inotify"
    return used
