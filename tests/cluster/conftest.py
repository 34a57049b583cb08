"""What tests of the cluster share. Run them with `labctl verify`, or with plain pytest:

pytest tests/cluster --hosts='ansible://all' --ansible-inventory=INVENTORY
"""

from __future__ import annotations

import pytest

from labctl.verify.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of the inventory."""
    return Cluster.of(request.config.option.ansible_inventory)
