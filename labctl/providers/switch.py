"""What holds a host's power switch: commands of a person's, or a BMC (`labctl.providers.redfish`)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal, Protocol

from labctl import process
from labctl.config_hosts import Command, PowerSwitch
from labctl.errors import ProviderError
from labctl.providers.redfish import RedfishSwitch

State = Literal["on", "off"]
_WITHIN_S = 120
_OFF = re.compile(r"\b(off|shut off|stopped|exited|poweredoff|powered-off|terminated)\b", re.IGNORECASE)
_ON = re.compile(r"\b(on|running|poweredon|powered-on|active)\b", re.IGNORECASE)


class Switch(Protocol):
    """One machine's. Each raises `ProviderError`."""

    def off(self) -> None:
        """Cut the power at once, as a pulled plug does."""

    def on(self) -> None:
        """Switch on."""

    def state(self) -> State:
        """Looked up now."""


@dataclass(frozen=True)
class CommandSwitch:
    """Commands of a person's, with {name} and {address} for the machine's."""

    commands: PowerSwitch
    name: str
    address: str

    def off(self) -> None:
        """By power.off."""
        self._run(self.commands.off)

    def on(self) -> None:
        """By power.on."""
        self._run(self.commands.on)

    def state(self) -> State:
        """What power.status says. Raises `ProviderError` if that cannot be told."""
        said = self._run(self.commands.status)
        if _OFF.search(said):
            return "off"
        if _ON.search(said):
            return "on"
        raise ProviderError(f"power.status says neither on nor off of {self.name}: {said.strip()[-200:]!r}")

    def _run(self, template: Command | None) -> str:
        words = [word.format(name=self.name, address=self.address) for word in template or ()]
        try:
            return process.run(words, timeout_s=_WITHIN_S).stdout
        except process.TimeoutExpired as error:
            raise ProviderError(f"{shlex.join(words)} did not end within {_WITHIN_S} s") from error
        except process.CommandError as error:
            raise ProviderError(
                f"the power command of {self.name} failed: {error.message}", "power: in labctl.yml"
            ) from error


def switch(power: PowerSwitch, name: str, address: str) -> Switch:
    """The switch of the machine `name` that SSH reaches at `address`."""
    return RedfishSwitch(power.redfish, name, address) if power.redfish else CommandSwitch(power, name, address)
