"""Programs that must not outlive labctl."""

from __future__ import annotations

from pathlib import Path

from labctl import process


def tethered(*argv: str | Path) -> list[str | Path]:
    """`argv` such that the program is ended when labctl ends, even if labctl is killed."""
    return ["setpriv", "--pdeathsig", "TERM", *argv] if process.has("setpriv") else list(argv)
