"""Wires a lab's cluster, power and SSH into what `labctl.drill` asks for."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import cast

import psutil

from labctl import drill, hello, paths, remote, state
from labctl.config import LabConfig
from labctl.drill import probe
from labctl.drill.lab import Power
from labctl.drill.model import Host
from labctl.errors import StateError, command_for
from labctl.kube import Kube
from labctl.providers.base import HasEngine, Machine
from labctl.providers.choose import provider_of
from labctl.verify.run import verify
from labctl.verify.target import Target


def surroundings(config: LabConfig, machines: Sequence[Machine], machine: str) -> dict[str, str]:
    """What faults may want to know of a machine's surroundings; addresses with commas."""
    others = [other for other in machines if other.name != machine]
    found = {
        "peers": _addresses(others),
        "control_planes": _addresses(other for other in machines if other.role == "control-plane"),
        "workers": _addresses(other for other in others if other.role == "worker"),
        "pods": ",".join(map(str, config.networks.of_pods)),
        "services": ",".join(map(str, config.networks.of_services)),
    }
    return {key: value for key, value in found.items() if value}


def _addresses(machines: Iterable[Machine]) -> str:
    return ",".join(word for machine in machines for word in (machine.address, machine.second_address) if word)


def host(provider: object) -> Host:
    """This machine, and the versions on it."""
    return Host(
        labctl=version("labctl"),
        engine=provider.engine_version() if isinstance(provider, HasEngine) else "",
        os=_os_name(),
        kernel=platform.release(),
        cpus=os.cpu_count() or 0,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
    )


def _os_name() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else ""


def lab_of(name: str) -> drill.DrillLab:
    """The lab `name` as drills see it. Raises `UsageError` if there is none, `StateError` if it has no cluster."""
    record = state.get(name)
    files = paths.LabPaths(name)
    if not files.kubeconfig.exists():
        raise StateError(f"the lab {name} has no cluster yet", f"{command_for(name, 'up')} finishes it")
    # A fault whose capability the provider lacks is refused by the drill itself.
    provider = cast("Power", provider_of(name))

    def run_on(machine: str, argv: Sequence[str]) -> str:
        return remote.run_on(name, remote.machine(name, machine), list(argv))

    return drill.DrillLab(
        name=name,
        cluster=Kube(files, record.config.patience),
        power=provider,
        run_on=run_on,
        journal=files.journal,
        hello=hello.documents(record.config),
        observers=probe.observers,
        host=partial(host, provider),
        surroundings=partial(surroundings, record.config, tuple(provider.machines())),
        verify=lambda: [result.sentence() for result in verify(Target.lab(name)).broken],
        patience=record.config.patience,
        machine_names=tuple(record.config.node_names),
    )
