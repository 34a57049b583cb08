"""Which versions go together. A combination that cannot work is refused before anything is fetched or built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from labctl.errors import UsageError


@dataclass(frozen=True)
class Rule:
    """`component` must be `at_least` a version and `below` another one; `why` is said to whoever asks for less."""

    component: str
    at_least: str
    below: str
    why: str

    def allows(self, version: str) -> bool:
        """Whether `version` is inside."""
        return _parts(self.at_least) <= _parts(version) < _parts(self.below)


RULES = (
    Rule("kubernetes", "1.35", "1.38", "labctl's roles are written for these releases and tested with them"),
    Rule(
        "containerd",
        "2.0",
        "3",
        "Kubernetes 1.36 dropped containerd 1, and the roles write containerd's configuration version 3",
    ),
    Rule("runc", "1.2", "2", "containerd 2 is released and tested with runc 1.2 or newer"),
    Rule("cni_plugins", "1.0", "2", "the pod network is configured in CNI version 1.0"),
    Rule(
        "etcd", "3.5.24", "3.8", "3.5.24 is the oldest that kubeadm of these releases accepts, 3.7 the newest it knows"
    ),
)


def check(versions: Mapping[str, str], hint: str = "") -> None:
    """Raise `UsageError` that names the rule if one of `versions` (component -> version) breaks one."""
    for rule in RULES:
        version = versions.get(rule.component)
        if version is not None and not rule.allows(version):
            raise UsageError(
                f"{rule.component.replace('_', '-')} {version} cannot be used: "
                f"it must be {rule.at_least} or newer and older than {rule.below}, for {rule.why}",
                hint,
            )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))
