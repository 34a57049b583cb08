"""What is said of packets that do not arrive, with probes that only answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labctl.verify import Expect
from labctl.verify.probes import BODY_MD5, Probes
from tests.cluster import test_pod_network as checks

NOTHING_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def test_nothing_that_arrived_is_no_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = SimpleNamespace(each=lambda ask: {node: ask(node) for node in ("one", "two")})
    nodes = {"one": True, "two": True}
    pods = {node: {"status": {"podIPs": [{"ip": f"10.244.{n}.2"}]}} for n, node in enumerate(nodes)}
    probes = Probes(cluster, pods, nodes, nodes)
    said: Any = SimpleNamespace(stdout=f"one {BODY_MD5} \ntwo wget: download timed out {NOTHING_MD5} \n")
    monkeypatch.setattr(probes, "sh", lambda *_: said)
    expect = Expect()
    checks.test_large_packets(probes, expect)
    ((seen, _),) = expect.wrong
    assert "one to two: wget: download timed out 0 bytes, two to two: wget" in seen
