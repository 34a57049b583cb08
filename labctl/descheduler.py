"""The descheduler, built by labctl's workshop and run once on this machine against a lab.

https://github.com/kubernetes-sigs/descheduler: it evicts pods that would be better off elsewhere; where to is the
scheduler's business. The policy is `RemoveDuplicates` alone: pods of one owner that share a node while another node
that would take one has less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from labctl import process
from labctl.bundle import tool
from labctl.bundle.catalog import descheduler
from labctl.errors import LabError, TimedOutError
from labctl.events import Emit

_LIMIT_S = 60.0
_NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}
"""the lab is on this machine's own networks"""


class Descheduler:
    """The descheduler for the cluster of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._group = descheduler()
        self._program: Path | None = None

    def unsupported(self) -> str:
        """Why it cannot be had on this machine, and the command that changes that; nothing if it can."""
        error = tool.why_not(self._group)
        return f"{error.message}; {error.hint}" if error else ""

    def prepare(self, emit: Emit) -> None:
        """Build it, once. Raises `PrerequisiteError` without Go."""
        self._program = tool.ensure(self._group, emit) / "descheduler"

    def run(self, namespace: str) -> str:
        """Once, for the pods of `namespace`; what it said. Raises `CommandError`, or `TimedOutError`."""
        if self._program is None:
            raise LabError("the descheduler was not built before the run")
        argv: list[str | Path] = [
            self._program,
            f"--kubeconfig={self._kubeconfig}",
            "--policy-config-file=/dev/stdin",
            "--secure-port=0",  # nobody asks for its metrics
            "--v=2",
        ]
        try:
            return process.run(argv, stdin=yaml.safe_dump(policy(namespace)), env=_NO_PROXY, timeout_s=_LIMIT_S).stderr
        except process.TimeoutExpired as error:
            raise TimedOutError(f"the descheduler did not end within {_LIMIT_S:.0f} s") from error


def policy(namespace: str) -> dict[str, Any]:
    """What it may do: evict duplicates in `namespace`, and nothing anywhere else."""
    return {
        "apiVersion": "descheduler/v1alpha2",
        "kind": "DeschedulerPolicy",
        "profiles": [
            {
                "name": "labctl",
                "pluginConfig": [
                    {"name": "DefaultEvictor", "args": {}},
                    {"name": "RemoveDuplicates", "args": {"namespaces": {"include": [namespace]}}},
                ],
                "plugins": {"balance": {"enabled": ["RemoveDuplicates"]}},
            }
        ],
    }
