"""Whether this host's clock can be right: machines in containers share it, and certificates are valid by it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509

from labctl import paths
from labctl.bundle import Bundle
from labctl.errors import command_for
from labctl.providers.base import Problem
from labctl.state import LabRecord

_SLACK = timedelta(minutes=5)
_SET = "set the clock, for instance with: sudo timedatectl set-ntp true"


def check(
    lab: paths.LabPaths, record: LabRecord | None, bundle: Bundle | None, now: datetime | None = None
) -> list[Problem]:
    """Problems if the clock is before what labctl wrote here, or outside the time that certificates are valid."""
    now = now or datetime.now(UTC)
    written = [datetime.fromisoformat(record.created)] if record else []
    if bundle:
        written.append(datetime.fromtimestamp(bundle.path.stat().st_mtime, UTC))
    if written and max(written) - now > _SLACK:
        return [Problem(f"the clock says {_day(now)}, but labctl wrote files here on {_day(max(written))}", _SET)]
    for certificate in _certificates(lab.kubeconfig):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        text = f"the clock says {_day(now)}, but a certificate of the lab is valid from {_day(begin)} to {_day(end)}"
        if now < begin - _SLACK:
            return [Problem(text, _SET)]
        if now > end:
            again = f"{command_for(lab.name, 'down')}, then {command_for(lab.name, 'up')}"
            return [Problem(text, f"if the clock is right: {again}")]
    return []


def _certificates(kubeconfig: Path) -> list[x509.Certificate]:
    """The cluster's and the administrator's; none if there is no kubeconfig that can be read."""
    try:
        data = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        encoded = [
            data["clusters"][0]["cluster"]["certificate-authority-data"],
            data["users"][0]["user"]["client-certificate-data"],
        ]
        return [x509.load_pem_x509_certificate(base64.b64decode(text)) for text in encoded]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return []


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
