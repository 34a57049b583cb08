"""The power switch in a machine's BMC, by Redfish (https://www.dmtf.org/standards/redfish), with the library sushy.

sushy is loaded only here, when it is needed: it comes with labctl[redfish].
"""

from __future__ import annotations

import logging
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from labctl.config_hosts import Redfish
from labctl.errors import PrerequisiteError, ProviderError, UsageError

_CONNECTED_WITHIN_S = 10
_ANSWERED_WITHIN_S = 30
_TRIES = 3
_HINT = "power: {redfish: ...} in labctl.yml"


class RedfishSwitch:
    """The BMC of the machine `name`, which SSH reaches at `address`. It is not asked before it has to be."""

    def __init__(self, bmc: Redfish, name: str, address: str) -> None:
        self._bmc = bmc
        self._url = (bmc.url or "").format(name=name, address=address)
        self._whose = f"the BMC of {name} at {self._url}"

    def off(self) -> None:
        """ForceOff: at once, without asking the machine."""
        self._reset("ForceOff")

    def on(self) -> None:
        """On, or ForceOn where the BMC knows nothing else."""
        self._reset("On", "ForceOn")

    def state(self) -> Literal["on", "off"]:
        """Off only if the BMC says so; one that is on its way is not there yet."""
        with self._told():
            self._system.refresh(force=True)
            seen = self._system.power_state
        if seen is None:
            raise ProviderError(f"{self._whose} says nothing of its power", _HINT)
        return "off" if seen.value == "Off" else "on"

    def _reset(self, *wanted: str) -> None:
        with self._told():
            # Those that the BMC names; sushy's own list of all where it names none.
            known = {kind.value: kind for kind in self._system.get_allowed_reset_system_values()}
            kind = next((known[word] for word in wanted if word in known), None)
            if kind is None:
                has = ", ".join(sorted(known))
                raise ProviderError(f"{self._whose} knows no {' or '.join(wanted)}, but {has}", _HINT)
            self._system.reset_system(kind)

    @cached_property
    def _system(self) -> Any:  # noqa: ANN401 (sushy has no types)
        sushy = library()
        # Basic, not a session: BMCs have few of these, and one that a killed labctl leaves lasts half an hour.
        auth = sushy.auth.BasicAuth(username=self._bmc.user, password=password(Path(self._bmc.password_file or "")))
        verify = self._bmc.ca or self._bmc.verify is not False
        way = sushy.connector.Connector(
            self._url,
            verify=verify,
            server_side_retries=_TRIES,
            server_side_retries_delay=1,
            default_request_timeout=_ANSWERED_WITHIN_S,
            connect_timeout=_CONNECTED_WITHIN_S,
        )
        root = sushy.Sushy(self._url, auth=auth, connector=way)
        return root.get_system(self._bmc.system)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong at the BMC is said as such; sushy's words hold no password."""
        sushy = library()
        try:
            yield
        except sushy.exceptions.AccessError as error:
            hint = "user and password_file, in labctl.yml"
            raise ProviderError(f"{self._whose} does not let {self._bmc.user} in", hint) from error
        except (sushy.exceptions.SushyError, OSError) as error:  # OSError: no such ca, and what else requests raises
            raise ProviderError(f"{self._whose}: {error}", _HINT) from error


def library() -> Any:  # noqa: ANN401 (sushy has no types)
    """Sushy. Raises `PrerequisiteError`."""
    try:
        import sushy  # noqa: PLC0415 (an extra)
        import sushy.auth  # noqa: PLC0415
        import sushy.connector  # noqa: PLC0415
        import sushy.exceptions  # noqa: PLC0415
    except ImportError as error:
        raise PrerequisiteError(
            "power: {redfish: ...} needs the library sushy", f"{sys.executable} -m pip install 'labctl[redfish]'"
        ) from error
    # Else its warnings would stand between what labctl says: what matters of them is in the error.
    logging.getLogger("sushy").addHandler(logging.NullHandler())
    return sushy


def password(file: Path) -> str:
    """What is in `file`. Raises `UsageError` if others may read it, or it is empty."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"power.redfish: {file} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError(f"power.redfish: others may read {file} (mode {mode:04o})", f"chmod 600 {file}")
    if not text:
        raise UsageError(f"power.redfish: {file} is empty", "the password alone goes there")
    return text
