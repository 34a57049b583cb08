"""labctl never assumes that a machine is its own: labctl.yml says what may be done to those that it did not make."""

from __future__ import annotations

from typing import Literal

from labctl import config, state
from labctl.config_hosts import Consent
from labctl.errors import UsageError, command_for

_WHY = {
    "drills": "a drill breaks machines of the lab {lab} for a while, and labctl did not make them",
    "reset": "the machines of the lab {lab} would be changed back to what they were, and labctl did not make them",
}


def require(lab: str, what: Literal["drills", "reset"]) -> None:
    """Raise `UsageError` unless the lab's machines are labctl's own, or the configuration consents.

    labctl.yml of the current directory goes before what the lab's record remembers of it, if it is of that lab. One
    that cannot be read might have withdrawn the consent: it is a `UsageError` too.
    """
    record = state.find(lab)
    if record is None or record.config.provider != "hosts":
        return
    consent = _said_now(lab) or record.config.consent
    if not getattr(consent, what):
        forget = command_for(lab, "down", "--keep-machines")
        instead = f"; {forget} forgets the lab and leaves them as they are" if what == "reset" else ""
        raise UsageError(_WHY[what].format(lab=lab), f"consent: {{{what}: true}} in labctl.yml allows it{instead}")


def _said_now(lab: str) -> Consent | None:
    if config.present_file() is None:
        return None
    now = config.load(None, {})
    return now.consent if now.name == lab and now.provider == "hosts" else None
