"""The checks of Services, on a cluster that only answers."""

from __future__ import annotations

from labctl.verify import Expect
from labctl.verify.cluster import Cluster
from tests.cluster import test_services as checks


def test_a_service_that_somebody_deleted_is_a_failure() -> None:
    expect = Expect()
    checks.test_node_ports(Cluster({}, ["one"], {"one": {}}), {}, "", {"services": []}, expect)
    assert expect.wrong == [("Service hello: missing", "Service hello: there; labctl up makes it")]
