"""Mounts and ports that the configuration asks for, as the engine wants them."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from labctl.config_machine import MachineSettings, Port
from labctl.errors import UsageError
from labctl.topology import Planned

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def run_arguments(settings: MachineSettings) -> list[str]:
    """The engine's words."""
    words: list[str] = []
    for mount in settings.mounts:
        words += ["--volume", f"{mount.host}:{mount.machine}" + (":ro" if mount.read_only else "")]
    for port in settings.ports:
        words += ["--publish", f"{port.listen}:{port.host}:{port.machine}/{port.protocol}"]
    return words


def refuse_taken_ports(machines: Iterable[Planned]) -> None:
    """Raise `UsageError` for a port of this host that cannot be had: said before a machine is made."""
    for machine in machines:
        for port in machine.settings.ports:
            reason = _taken(port)
            if reason:
                raise UsageError(
                    f"ports: {machine.name} cannot have {port} of this host: {reason}",
                    f"ss --listening --numeric --processes shows who has it; or choose another than {port.host}",
                )


def _taken(port: Port) -> str:
    with socket.socket(socket.AF_INET, _KINDS[port.protocol]) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((str(port.listen), port.host))
        except OSError as error:
            return error.strerror or str(error)
    return ""
