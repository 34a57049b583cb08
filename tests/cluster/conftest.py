"""What tests of the cluster share. Run them with `labctl verify`, or with plain pytest:

pytest tests/cluster --hosts='ansible://all' --ansible-inventory=INVENTORY

The quick ones look at `looks` and `objects`, from one round trip to every node; the deep ones share `probes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.verify.cluster import Cluster, Look
from labctl.verify.gather import Begun, Gathered, Objects, gather
from labctl.verify.plugin import info_of, look_at_inventory, skip_silent
from labctl.verify.probes import Probes

_BEGUN = pytest.StashKey[Begun[Gathered]]()


def pytest_configure(config: pytest.Config) -> None:
    """Look before testinfra does."""
    look_at_inventory(config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to look at once: the checks of the nodes come first, and need not be waited for."""
    wanted = any("gathered" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        cluster, program = cluster_of(session.config), program_text()
        session.stash[_BEGUN] = Begun(lambda: gather(cluster, program))


def cluster_of(config: pytest.Config) -> Cluster:
    return Cluster.of(config.option.ansible_inventory)


def program_text() -> str:
    return Path(__file__).with_name("on_node.py").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster of the inventory."""
    return cluster_of(request.config)


@pytest.fixture(scope="session")
def program() -> str:
    """What `Look.at` runs on a node."""
    return program_text()


@pytest.fixture(scope="session")
def gathered(request: pytest.FixtureRequest) -> Gathered:
    """All that the quick checks look at."""
    return request.session.stash[_BEGUN].result()


@pytest.fixture
def looks(cluster: Cluster, gathered: Gathered, request: pytest.FixtureRequest) -> dict[str, Look]:
    """Every node from inside, and what it was answered; without machines that do not answer, which NODE-001 names."""
    if gathered.looks[cluster.first].is_silent:
        skip_silent(request, f"{cluster.first} does not answer")
    return {name: look for name, look in gathered.looks.items() if not look.is_silent}


@pytest.fixture
def control_planes(cluster: Cluster, looks: dict[str, Look]) -> list[str]:
    """Those that answer."""
    return [name for name in cluster.control_planes if name in looks]


@pytest.fixture(scope="session")
def objects(cluster: Cluster, gathered: Gathered) -> Objects:
    """All objects of the kinds that are looked at."""
    if gathered.objects is None:
        pytest.skip(f"the API server of {cluster.first} gives no lists: see CLUSTER-007")
    return gathered.objects


@pytest.fixture(scope="session")
def begun_probes(cluster: Cluster) -> Iterator[Probes]:
    """The pods of the deep checks. They go whatever happens, and those of a run that was killed before all else."""
    started = Probes(cluster)
    try:
        started.begin()
        yield started
    finally:
        started.remove()


@pytest.fixture
def probes(begun_probes: Probes, request: pytest.FixtureRequest) -> Probes:
    """The pods of the deep checks."""
    check = info_of(request.node)
    return begun_probes.for_check(check.id if check else "")
