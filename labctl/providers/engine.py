"""The container engine's command line, podman's or docker's. They differ in a few words, here and in `launch`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import psutil

from labctl import process
from labctl.errors import ProviderError
from labctl.process import CommandError, Completed

PODMAN = "podman"
DOCKER = "docker"
NAMES = (PODMAN, DOCKER)
"""In the order in which `provider: auto` tries them."""

_PATIENCE_S = 60
_SHORT = {"start", "unpause", "pause", "kill", "rm", "network"}
"""Commands that are never cut in two: podman does not recover from a start that was ended half-way."""
_SETTLED_WITHIN_S = 60


@dataclass(frozen=True)
class Container:
    """A container in any state: running, exited, paused, created ..."""

    name: str
    labels: dict[str, str]
    state: str


@dataclass(frozen=True)
class Network:
    """One of the engine's networks, with its IPv4 subnets and the bridge's name where it is known."""

    name: str
    subnets: tuple[IPv4Network, ...]
    labels: dict[str, str] = field(default_factory=dict)
    interface: str = ""


class Engine:
    """Calls `name` and turns its failures into `ProviderError`."""

    def __init__(self, name: str = PODMAN) -> None:
        self.name = name

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        """Run one engine command."""
        is_short = words[0] in _SHORT or ("run" in words and "--detach" in words)
        run = process.run_whole if is_short else process.run
        try:
            return run([self.name, *words], check=check)
        except CommandError as error:
            raise ProviderError(error.message, "labctl doctor looks for the cause") from error

    def is_installed(self) -> bool:
        """Whether the program is in PATH."""
        return process.has(self.name)

    def info(self) -> dict[str, Any]:
        """What the engine says of itself. Raises `ProviderError` with its own words if it does not answer."""
        try:
            done = process.run([self.name, "info", "--format", "{{json .}}"], check=False, timeout_s=_PATIENCE_S)
        except process.TimeoutExpired as error:
            raise ProviderError(f"no answer in {_PATIENCE_S} s") from error
        said: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        # docker's client may end with 0 though it found no daemon.
        refusals = said.get("ServerErrors") or ([] if done.code == 0 else [done.stderr.strip()])
        if refusals:
            raise ProviderError("; ".join(refusals)[-300:])
        return said

    def containers(self, labels: dict[str, str] | list[str]) -> list[Container]:
        """All containers, running or not, that carry `labels` (a list: with whatever value)."""
        listed = self("ps", "--all", "--quiet", *_filters(labels)).stdout.split()
        return [
            Container(item["Name"].removeprefix("/"), item["Config"]["Labels"] or {}, self._state(item))
            for item in self._inspect(["inspect", "--type", "container"], listed)
        ]

    def _state(self, item: dict[str, Any]) -> str:
        """What the engine says, unless it cannot know better.

        podman learns from its monitor that a container ended. If that was killed too, podman says "running" for ever,
        and neither starts nor stops the container; so what the monitor would have written is written here.
        """
        state: dict[str, Any] = item["State"]
        alive = any(process.is_alive(state.get(key, 0)) for key in ("Pid", "ConmonPid"))
        if self.name != PODMAN or state["Status"] not in ("running", "stopping") or alive:
            return str(state["Status"])
        exits = Path(os.environ["XDG_RUNTIME_DIR"], "libpod/tmp/exits") if os.getuid() else Path("/run/libpod/exits")
        exits.mkdir(parents=True, exist_ok=True)
        (exits / item["Id"]).write_text("137")
        return "exited"

    def networks(self, labels: dict[str, str] | None = None) -> list[Network]:
        """The networks that carry `labels`, or all."""
        listed = self("network", "ls", "--quiet", *_filters(labels or {})).stdout.split()
        return [_network(item) for item in self._inspect(["network", "inspect"], listed)]

    def create_network(
        self, name: str, subnet: IPv4Network, labels: dict[str, str], subnet6: IPv6Network | None = None
    ) -> None:
        """Make a bridge network without a resolver of its own, where the engine lets one choose."""
        choice = ["--disable-dns"] if self.name == PODMAN else []
        choice += ["--ipv6", "--subnet", str(subnet6)] if subnet6 else []
        self("network", "create", "--subnet", str(subnet), *choice, *label_words(labels), name)

    def store(self) -> Path:
        """The folder where the engine keeps images and containers."""
        where = "{{.Store.GraphRoot}}" if self.name == PODMAN else "{{.DockerRootDir}}"
        return Path(self("info", "--format", where).stdout.strip())

    def has_image(self, reference: str) -> bool:
        """Whether the image is in the local store."""
        return self("image", "inspect", "--format", "{{.Id}}", reference, check=False).code == 0

    def commit(self, container: str, reference: str, *changes: str) -> None:
        """Keep the container's file system as the image `reference`."""
        words = ["--quiet", "--format", "docker"] if self.name == PODMAN else []
        for change in changes:
            words += ["--change", change]
        self("commit", *words, container, reference)

    def address(self, container: str) -> str:
        """The container's IPv4 address, or nothing."""
        every = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{.NetworkSettings.IPAddress}}"
        return next(iter(self("inspect", "--format", every, container).stdout.split()), "")

    def wait_until_off(self, container: str, timeout_s: float) -> None:
        """Wait for the end of the container's processes, but not for ever: whoever wants to know looks at `state`."""
        with suppress(process.TimeoutExpired):
            process.run([self.name, "wait", container], check=False, timeout_s=timeout_s)

    def state(self, container: str) -> str:
        """running, exited, paused, created ... or ``missing``."""
        done = self("inspect", "--type", "container", "--format", "{{.State.Status}}", container, check=False)
        return done.stdout.strip() if done.code == 0 else "missing"

    def settle(self, label: str) -> None:
        """Wait until commands with `label` have ended that a labctl which was killed began: its children live on."""
        for child in psutil.process_iter(["cmdline"]):
            words = child.info["cmdline"] or [""]
            if Path(words[0]).name == self.name and {"run", "start"} & set(words) and label in words:
                with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                    child.wait(timeout=_SETTLED_WITHIN_S)

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers in whatever state they are, at once. Those that are not there are no error."""
        if containers:
            at_once = ["--time", "0", "--ignore"] if self.name == PODMAN else []
            self("rm", "--force", "--volumes", *at_once, *containers)

    def _inspect(self, command: list[str], listed: list[str]) -> list[dict[str, Any]]:
        # What vanished since it was listed makes the command fail, but the others are printed.
        return list(json.loads(self(*command, *listed, check=False).stdout or "[]")) if listed else []


def label_words(labels: dict[str, str]) -> list[str]:
    """The options that put `labels` on something."""
    return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]


def _network(item: dict[str, Any]) -> Network:
    """What podman and docker say of a network, each in its own way."""
    parts = item.get("subnets") or (item.get("IPAM") or {}).get("Config") or []
    subnets = [part.get("subnet") or part.get("Subnet") or "" for part in parts]
    bridge = item.get("network_interface", "") if "name" in item else f"br-{item['Id'][:12]}"
    return Network(
        name=item.get("name") or item["Name"],
        subnets=tuple(IPv4Network(subnet) for subnet in subnets if "." in subnet),
        labels=item.get("labels") or item.get("Labels") or {},
        interface=(item.get("Options") or {}).get("com.docker.network.bridge.name", bridge),
    )


def _filters(labels: dict[str, str] | list[str]) -> Iterable[str]:
    words = labels if isinstance(labels, list) else [f"{key}={value}" for key, value in labels.items()]
    for word in words:
        yield from ("--filter", f"label={word}")
