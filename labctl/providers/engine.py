"""The container engine's command line. One class: docker is to be the same with another `name`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from labctl import process
from labctl.errors import ProviderError
from labctl.process import CommandError, Completed

_SETTLED_WITHIN_S = 60


class Engine:
    """Calls `name` (podman) and turns its failures into `ProviderError`."""

    def __init__(self, name: str = "podman") -> None:
        self.name = name

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        """Run one engine command."""
        try:
            return process.run([self.name, *words], check=check)
        except CommandError as error:
            raise ProviderError(error.message, "labctl doctor looks for the cause") from error

    def is_installed(self) -> bool:
        """Whether the program is in PATH."""
        return process.has(self.name)

    def containers(self, labels: dict[str, str] | list[str]) -> list[dict[str, Any]]:
        """All containers, running or not, that carry `labels` (a list: with whatever value)."""
        done = self("ps", "--all", *_filters(labels), "--format", "json")
        return list(json.loads(done.stdout or "[]"))

    def networks(self, labels: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """The networks that carry `labels`, or all."""
        return list(json.loads(self("network", "ls", *_filters(labels or {}), "--format", "json").stdout or "[]"))

    def store(self) -> Path:
        """The folder where the engine keeps images and containers."""
        return Path(self("info", "--format", "{{.Store.GraphRoot}}").stdout.strip())

    def has_image(self, reference: str) -> bool:
        """Whether the image is in the local store."""
        return self("image", "exists", reference, check=False).code == 0

    def state(self, container: str) -> str:
        """running, exited, paused, created ... or ``missing``."""
        done = self("inspect", "--type", "container", "--format", "{{.State.Status}}", container, check=False)
        return done.stdout.strip() if done.code == 0 else "missing"

    def settle(self, label: str) -> None:
        """Wait until commands with `label` have ended that a labctl which was killed began: its children live on."""
        for child in psutil.process_iter(["cmdline"]):
            words = child.info["cmdline"] or [""]
            if Path(words[0]).name == self.name and label in words:
                with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                    child.wait(timeout=_SETTLED_WITHIN_S)

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers in whatever state they are."""
        if containers:
            self("rm", "--force", "--time", "0", "--volumes", "--ignore", *containers)


def _filters(labels: dict[str, str] | list[str]) -> Iterable[str]:
    words = labels if isinstance(labels, list) else [f"{key}={value}" for key, value in labels.items()]
    for word in words:
        yield from ("--filter", f"label={word}")
