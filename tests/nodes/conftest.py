"""What tests of nodes share. Run them with `labctl verify`, or with plain pytest:

pytest tests/nodes --hosts='ansible://all' --ansible-inventory=INVENTORY
"""

from __future__ import annotations

import pytest
from testinfra.host import Host

from labctl.verify.machine import Machine


@pytest.fixture(scope="session")
def machines() -> dict[str, Machine]:
    """What is known of each node already."""
    return {}


@pytest.fixture(scope="module")
def machine(host: Host, machines: dict[str, Machine]) -> Machine:
    """The node, as the checks of the CIS Kubernetes Benchmark look at it."""
    return machines.setdefault(host.backend.get_hostname(), Machine(host))
