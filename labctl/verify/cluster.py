"""The cluster as the checks of tests/cluster reach it: as its administrator, from the first control plane."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import testinfra
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from labctl.verify.shell import heard

Json = dict[str, Any]


@dataclass
class Cluster:
    """kubectl on the first control plane, and a shell on every node, by the node's name."""

    nodes: dict[str, Host]
    control_planes: list[str]
    variables: dict[str, Json]
    """of the inventory, by node"""

    @classmethod
    def of(cls, inventory: str | None) -> Cluster:
        """The cluster whose machines are in the Ansible inventory (None: Ansible's default one)."""
        hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=inventory)
        nodes = {host.backend.get_hostname(): host for host in hosts}
        variables = {name: host.ansible.get_variables() for name, host in nodes.items()}
        return cls(nodes, variables[next(iter(nodes))]["groups"]["control_planes"], variables)

    @property
    def first(self) -> str:
        """The control plane that is asked."""
        return self.control_planes[0]

    def variable(self, name: str, default: object = "") -> Any:  # noqa: ANN401 (as the inventory has it)
        """A variable that is the same for all machines."""
        return self.variables[self.first].get(name, default)

    @property
    def is_slow(self) -> bool:
        """Whether its machines are said to be slow."""
        return bool(self.variable("lab_slow_machine", default=False))

    def address(self, node: str) -> str:
        """Where the others reach a machine."""
        return str(self.variables[node]["node_address"])

    def addresses(self, node: str) -> list[str]:
        """That one, and in a cluster with both families the other family's."""
        return [self.address(node), *filter(None, [self.variables[node].get("node_second_address")])]

    def host(self, node: str) -> str:
        """Where the others reach a machine, as URLs have it."""
        return in_url(self.address(node))

    def run(self, command: str, *words: str) -> CommandResult:
        """`kubectl COMMAND`, %s in it standing for `words`, quoted. Whatever the exit code."""
        return self.sh("kubectl --kubeconfig /etc/kubernetes/admin.conf " + command, *words)

    def sh(self, command: str, *words: str) -> CommandResult:
        """A shell command on the first control plane."""
        return heard(self.nodes[self.first], command, *words)

    def get(self, command: str, *words: str) -> Json:
        """What `kubectl get COMMAND` says, as JSON. Raises `AssertionError` with its words."""
        done = self.run(f"get --output json {command}", *words)
        assert done.rc == 0, done.stderr
        answer: Json = json.loads(done.stdout)
        return answer

    def each(self, what: Callable[[str], Any]) -> dict[str, Any]:
        """`what` of every node's name, all at once."""
        with ThreadPoolExecutor(max_workers=16) as pool:
            return dict(zip(self.nodes, pool.map(what, self.nodes), strict=True))


def in_url(address: str) -> str:
    """An address as it stands in URLs (RFC 3986, 3.2.2).

    >>> in_url("192.0.2.1"), in_url("fd00::1")
    ('192.0.2.1', '[fd00::1]')
    """
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True)
class Answer:
    """HTTP's status, or the name server's code; 0 if there was no answer, and then the reason in `body`."""

    status: int
    body: str

    @property
    def is_silence(self) -> bool:
        """Nobody answered: nobody was let in, and nobody was refused."""
        return self.status == 0 and self.body.startswith(("TimeoutError", "ConnectionRefused", "ConnectionReset"))

    def json(self) -> Json:
        """The body. Raises `AssertionError` if the answer is none."""
        assert self.status in (200, 201), f"{self.status} {self.body[:300]}"
        answer: Json = json.loads(self.body)
        return answer

    def __str__(self) -> str:
        return f"{self.status} {self.body}".strip()[:200] if self.status != 200 else "200"  # noqa: PLR2004 (HTTP's)


@dataclass(frozen=True)
class Look:
    """A node from inside, and what it was answered: see tests/cluster/on_node.py."""

    answers: dict[str, Answer]
    booted: int
    """when the machine started, in seconds since 1970, as `now`, which is its clock"""
    now: float
    kubeconfigs: dict[str, dict[str, str]]
    """`server` and `ca`, by file"""
    services: list[str]
    """address, protocol and port of each Service that kube-proxy has written down"""
    hostname: str = ""
    """what the machine calls itself; a node may be called otherwise"""
    is_silent: bool = False
    """the machine was not reached: nothing is known of it"""

    @classmethod
    def at(cls, host: Host, program: str, questions: Mapping[str, Json]) -> Look:
        """Have the node run `program` with these questions. A machine that cannot be reached is a silent one."""
        try:
            done = heard(host, "python3 -c %s %s", program, json.dumps(questions))
        except RuntimeError as error:
            silence = Answer(0, f"the machine is not reached: {why_silent(error)}")
            return cls(dict.fromkeys(questions, silence), 0, 0, {}, [], is_silent=True)
        assert done.rc == 0, (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        return cls.read(done.stdout)

    @classmethod
    def read(cls, text: str) -> Look:
        """What the program printed."""
        raw: Json = json.loads(text)
        answers = {name: Answer(**answer) for name, answer in raw.pop("answers").items()}
        return cls(answers=answers, **raw)


def why_silent(error: RuntimeError) -> str:
    """Why ssh failed: testinfra raises the error with the result of ssh in it."""
    lines = str(getattr(error.args[0], "stderr", error)).strip().splitlines()
    return lines[-1] if lines else "no reason was given"
