"""A machine's CPUs and memory: limits for the engine, and files that make its /proc and /sys say the same.

The kernel shows every container the host's figures, and the kubelet would offer them to the scheduler. What it reads
(through cAdvisor) are two files: /proc/meminfo and /sys/devices/system/cpu/online.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path

import psutil

from labctl.config import LabConfig
from labctl.config_machine import MachineSettings, mebibytes
from labctl.errors import UsageError
from labctl.state import write_file

_ONLINE = Path("/sys/devices/system/cpu/online")


def run_arguments(settings: MachineSettings, folder: Path) -> list[str]:
    """The engine's words for a machine of this size; the files that it sees are written into `folder`."""
    words: list[str] = []
    if settings.cpus:
        file = folder / "cpus_online"
        write_file(file, cpu_list(online_cpus()[: ceil(settings.cpus)]) + "\n", 0o644)
        words += ["--cpus", f"{settings.cpus:g}", "--volume", f"{file}:{_ONLINE}:ro"]
    if settings.memory:
        file = folder / "meminfo"
        write_file(file, meminfo(mebibytes(settings.memory)), 0o644)
        limit = f"{mebibytes(settings.memory)}m"
        # The same figure for both: no swap beside it.
        words += ["--memory", limit, "--memory-swap", limit, "--volume", f"{file}:/proc/meminfo:ro"]
    return words


def refuse_too_large(config: LabConfig) -> None:
    """Raise `UsageError` for a machine that is larger than this host."""
    cpus, mib = len(online_cpus()), psutil.virtual_memory().total // 1024**2
    for name in config.machine_names:
        settings = config.machine(name)
        if settings.cpus and settings.cpus > cpus:
            raise UsageError(f"{name} cannot have {settings.cpus:g} CPUs: this host has {cpus}", "lower node.cpus")
        if settings.memory and mebibytes(settings.memory) > mib:
            raise UsageError(f"{name} cannot have {settings.memory}: this host has {mib}Mi", "lower node.memory")


def online_cpus() -> list[int]:
    """The host's CPUs that are switched on."""
    numbers: list[int] = []
    for part in _ONLINE.read_text(encoding="ascii").strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def cpu_list(numbers: list[int]) -> str:
    """As the kernel writes it, without ranges."""
    return ",".join(map(str, numbers))


def meminfo(mib: int) -> str:
    """A /proc/meminfo of a machine that has just started; how much is in use, its cgroup knows."""
    figures = {"MemTotal": mib, "MemFree": mib, "MemAvailable": mib, "Buffers": 0, "Cached": 0}
    figures |= {"SwapCached": 0, "SwapTotal": 0, "SwapFree": 0}
    return "".join(f"{name + ':':<15} {value * 1024:>8} kB\n" for name, value in figures.items())
