"""The cluster as the checks of tests/cluster reach it: as its administrator, from the first control plane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import testinfra
from testinfra.backend.base import CommandResult
from testinfra.host import Host


@dataclass
class Cluster:
    """kubectl on the first control plane, and a shell on every node, by the node's name."""

    nodes: dict[str, Host]
    control_planes: list[str]

    @classmethod
    def of(cls, inventory: str | None) -> Cluster:
        """The cluster whose machines are in the Ansible inventory (None: Ansible's default one)."""
        hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=inventory)
        groups = hosts[0].ansible.get_variables()["groups"]
        return cls({host.backend.get_hostname(): host for host in hosts}, groups["control_planes"])

    def run(self, command: str, *words: str) -> CommandResult:
        """`kubectl COMMAND`, %s in it standing for `words`, quoted. Whatever the exit code."""
        kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf "
        return self.nodes[self.control_planes[0]].run(kubectl + command, *words)

    def get(self, command: str, *words: str) -> dict[str, Any]:
        """What `kubectl get COMMAND` says, as JSON. Raises `AssertionError` with its words."""
        done = self.run(f"get --output json {command}", *words)
        assert done.rc == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
