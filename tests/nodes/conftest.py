"""What tests of nodes share. Run them with `labctl verify`, or with plain pytest:

pytest tests/nodes --hosts='ansible://all' --ansible-inventory=INVENTORY
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import testinfra
from testinfra.host import Host

from labctl.verify.node import USUAL, Node
from labctl.verify.plugin import look_at_inventory, skip_silent
from labctl.verify.programs import Programs


def pytest_configure(config: pytest.Config) -> None:
    """Look before testinfra does."""
    look_at_inventory(config)


@pytest.fixture(scope="session")
def nodes(request: pytest.FixtureRequest) -> Iterator[dict[str, Node]]:
    """All machines of the inventory, by name."""
    hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=request.config.option.ansible_inventory)
    found = {host.backend.get_hostname(): Node(host) for host in hosts}
    # A module may name what else takes long.
    more = {command for item in request.session.items for command in _asked_early(item)}
    for node in found.values():
        node.shell.begin([*USUAL, *sorted(more)])
    yield found
    for node in found.values():
        node.shell.close()


def _asked_early(item: pytest.Item) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(getattr(item, "module", None), "ASKED_EARLY", ())
    return found


@pytest.fixture
def machine(host: Host, nodes: dict[str, Node]) -> Node:
    """The machine that is looked at, though it may not answer."""
    return nodes[host.backend.get_hostname()]


@pytest.fixture
def node(machine: Node, request: pytest.FixtureRequest) -> Node:
    """The machine that is looked at. One that does not answer is asked once, not by every check."""
    if machine.silence:
        skip_silent(request, f"the machine does not answer: {machine.silence}")
    return machine


@pytest.fixture
def others(node: Node, nodes: dict[str, Node]) -> list[Node]:
    """The other machines, as far as they answer."""
    return [other for other in nodes.values() if other is not node and not other.silence]


@pytest.fixture
def programs(node: Node) -> Programs:
    """What the checks of the CIS Kubernetes Benchmark look at."""
    return node.programs
