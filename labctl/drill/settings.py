"""The settings that decide the prediction, read from the live processes: command lines, kubelets, pods' tolerations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from labctl.drill.model import Settings
from labctl.errors import InconclusiveError
from labctl.providers.base import Machine

RunOn = Callable[[str, Sequence[str]], str]
"""(machine, argv) -> what the command printed"""

_LIST_PROCESSES = ("sh", "-c", 'for f in /proc/[0-9]*/cmdline; do tr "\\0" "\\t" <"$f" && echo; done 2>/dev/null; true')
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GRACE_50_SINCE = 32
_DEFAULT_TOLERATION_S = 300
_TOLERATION = "default-unreachable-toleration-seconds"


class SettingsCluster(Protocol):
    """The part of a cluster that is asked here."""

    def server_version(self) -> str: ...  # noqa: D102
    def node_configz(self, node: str) -> dict[str, Any]: ...  # noqa: D102


class SettingsLab(Protocol):
    """The part of a lab that is asked here."""

    @property
    def cluster(self) -> SettingsCluster: ...  # noqa: D102
    @property
    def run_on(self) -> RunOn: ...  # noqa: D102
    @property
    def patience(self) -> float: ...  # noqa: D102


def duration_s(text: str) -> float:
    """Seconds of Go's notation: ``1m30s``, ``500ms``."""
    parts = re.findall(r"([\d.]+)(h|ms|us|µs|ns|m|s)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_flags(processes: str, program: str) -> dict[str, str] | None:
    """The flags of `program` among `processes` (a line a process, a tab between arguments); None if it is not there."""
    for line in processes.splitlines():
        words = line.rstrip("\t").split("\t")
        if words[0].rsplit("/", 1)[-1] == program:
            return dict(_flags(words[1:]))
    return None


def _flags(words: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for index, word in enumerate(words):
        if word.startswith("--"):
            name, has_value, value = word.lstrip("-").partition("=")
            following = words[index + 1] if index + 1 < len(words) else ""
            pairs.append((name, value if has_value else following if not following.startswith("-") else "true"))
    return pairs


def live_flags(run_on: RunOn, control_planes: Sequence[str], program: str) -> dict[str, str]:
    """The flags of the running `program`, from the first control plane that runs it."""
    for machine in control_planes:
        flags = parse_flags(run_on(machine, _LIST_PROCESSES), program)
        if flags is not None:
            return flags
    raise InconclusiveError(f"{program} runs on none of {', '.join(control_planes)}: nothing can be predicted")


def live(lab: SettingsLab, machines: Sequence[Machine], node: str) -> Settings:
    """The lab's settings with the kubelet of `node`, and the toleration that the API server writes into new pods."""
    control_planes = [machine.name for machine in machines if machine.role == "control-plane"]
    manager = live_flags(lab.run_on, control_planes, "kube-controller-manager")
    server = live_flags(lab.run_on, control_planes, "kube-apiserver")
    tolerated = float(server.get(_TOLERATION, _DEFAULT_TOLERATION_S))
    found = settings(lab.cluster.server_version(), manager, lab.cluster.node_configz(node), tolerated)
    sources = {**found.sources, "toleration_s": f"--{_TOLERATION}"}
    return found.model_copy(update={"sources": sources, "patience": lab.patience})


def settings(
    version: str, manager: Mapping[str, str], kubelet: Mapping[str, Any], toleration_s: float | None
) -> Settings:
    """From kube-controller-manager's flags, the victim's kubelet (configz) and the lost pods' own toleration."""
    minor = int(version.lstrip("v").split(".")[1])
    sources: dict[str, str] = {"toleration_s": "the pods"}

    def flag(field: str, name: str, default: str) -> str:
        sources[field] = f"--{name}" if name in manager else f"default of {version}"
        return manager.get(name, default)

    sources["lease_s"] = "the kubelet" if kubelet.get("nodeLeaseDurationSeconds") else f"default of {version}"
    return Settings(
        version=version,
        grace_s=duration_s(flag("grace_s", "node-monitor-grace-period", "50s" if minor >= _GRACE_50_SINCE else "40s")),
        monitor_s=duration_s(flag("monitor_s", "node-monitor-period", "5s")),
        status_s=duration_s(kubelet.get("nodeStatusUpdateFrequency") or "10s"),
        shutdown_s=duration_s(kubelet.get("shutdownGracePeriod") or "0s"),
        lease_s=float(kubelet.get("nodeLeaseDurationSeconds") or 40),
        eviction_rate=float(flag("eviction_rate", "node-eviction-rate", "0.1")),
        secondary_eviction_rate=float(flag("secondary_eviction_rate", "secondary-node-eviction-rate", "0.01")),
        unhealthy_threshold=float(flag("unhealthy_threshold", "unhealthy-zone-threshold", "0.55")),
        large_cluster=int(flag("large_cluster", "large-cluster-size-threshold", "50")),
        toleration_s=toleration_s,
        sources=sources,
    )
