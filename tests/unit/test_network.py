import json
from ipaddress import IPv4Network, IPv6Network

import pytest

from labctl import process
from labctl.errors import ProviderError, UsageError
from labctl.process import Completed
from labctl.providers import engines, network
from labctl.providers.engine import Engine, Network


class FakeEngine(Engine):
    def __init__(self, **known: str) -> None:
        super().__init__()
        self.known = [Network(name, (IPv4Network(subnet),)) for name, subnet in known.items()]
        self.made: list[str] = []

    def create_network(
        self, name: str, subnet: IPv4Network, labels: dict[str, str], subnet6: IPv6Network | None = None
    ) -> None:
        self.made.append(str(subnet))

    def networks(self, labels: dict[str, str] | None = None) -> list[Network]:
        return self.known


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that work on this host."""
    found: list[Engine] = []
    monkeypatch.setattr(engines, "working", lambda: found)
    return found


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = ["default", "192.168.1.0/24"]

    def run(argv: list[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, json.dumps([{"dst": dst} for dst in found]), "")

    monkeypatch.setattr(process, "run", run)
    return found


def test_the_first_free_subnet_is_taken(routes: list[str], others: list[Engine]) -> None:
    """Free of routes, and of the networks of every engine: podman's have no route while nothing runs on them."""
    routes.append("10.203.1.0/24")
    others.append(FakeEngine(other="10.203.0.0/24"))
    engine = FakeEngine()
    assert network.ensure(engine, "mine", {}, None) == IPv4Network("10.203.2.0/24")
    assert engine.made == ["10.203.2.0/24"]


def test_the_labs_own_pods_and_services_are_kept_clear_of(routes: list[str]) -> None:
    pods = IPv4Network("10.203.0.0/17")
    assert network.ensure(FakeEngine(), "mine", {}, None, [pods]) == IPv4Network("10.203.128.0/24")


def test_a_lab_keeps_its_subnet(routes: list[str]) -> None:
    engine = FakeEngine(mine="10.203.9.0/24")
    assert network.ensure(engine, "mine", {}, None) == IPv4Network("10.203.9.0/24")
    assert engine.made == []


def test_a_subnet_that_is_routed_elsewhere_is_refused(routes: list[str]) -> None:
    with pytest.raises(UsageError, match=r"overlaps 192\.168\.1\.0/24"):
        network.ensure(FakeEngine(), "mine", {}, IPv4Network("192.168.1.0/24"))


def test_another_subnet_for_an_existing_lab_is_refused(routes: list[str]) -> None:
    with pytest.raises(UsageError, match=r"are on 10\.203\.9\.0/24"):
        network.ensure(FakeEngine(mine="10.203.9.0/24"), "mine", {}, IPv4Network("10.1.0.0/24"))


def test_a_vpn_that_takes_all_is_named(routes: list[str]) -> None:
    routes.append("10.0.0.0/8")
    with pytest.raises(ProviderError, match="no /24"):
        network.ensure(FakeEngine(), "mine", {}, None)
