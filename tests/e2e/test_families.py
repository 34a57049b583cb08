"""Labs with both families of addresses, IPv6 alone, and vxlan: up, the page, a Service, drills, stop and start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.e2e.conftest import Cli, taken_down

pytestmark = pytest.mark.slow  # a lab for each
VERSIONS = {"ipv4": [4], "dual": [4, 6], "ipv6": [6]}


@dataclass
class Lab:
    """A lab that is up."""

    cli: Cli
    cni: str
    versions: list[int]

    def get(self, *words: str) -> Any:  # noqa: ANN401 (as kubectl has it)
        """What kubectl has of it, as JSON."""
        return json.loads(self.cli.kubectl("get", *words, "-o", "json"))


LABS = [("vxlan", "ipv4"), ("routed", "dual"), ("vxlan", "dual"), ("routed", "ipv6"), ("vxlan", "ipv6")]


@pytest.fixture(scope="module", params=LABS, ids="-".join)
def lab(request: pytest.FixtureRequest, home: Path) -> Iterator[Lab]:
    """One control plane and two workers."""
    cni, family = request.param
    cwd = home / f"{cni}-{family}"
    cwd.mkdir()
    (cwd / "labctl.yml").write_text(yaml.safe_dump({"cni": cni, "timing": "drill", "networks": {"family": family}}))
    with taken_down(Cli(f"f-{cni}-{family}", home, cwd)) as cli:
        cli.json("up", "--provider", "podman")
        yield Lab(cli, cni, VERSIONS[family])


def test_nodes_pods_and_services_have_the_addresses(lab: Lab) -> None:
    for node in lab.get("nodes")["items"]:
        own = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
        assert [ip_address(address).version for address in own] == lab.versions
    for pod in lab.get("pods", "-l", "app.kubernetes.io/name=hello")["items"]:
        assert [ip_address(entry["ip"]).version for entry in pod["status"]["podIPs"]] == lab.versions
    service = lab.get("service", "hello")["spec"]
    assert [ip_address(address).version for address in service["clusterIPs"]] == lab.versions


def test_the_page_answers_at_every_address_of_every_machine(lab: Lab) -> None:
    for node in lab.get("nodes")["items"]:
        for entry in node["status"]["addresses"]:
            if entry["type"] == "InternalIP":
                address = f"[{entry['address']}]" if ":" in entry["address"] else entry["address"]
                assert b"ello" in urllib3.request("GET", f"http://{address}:30080/", timeout=5.0).data


def test_a_second_up_changes_nothing_and_all_checks_pass(lab: Lab) -> None:
    assert lab.cli.json("up")["changed"] == 0
    report = lab.cli.json("verify", "--deep")
    assert [result for result in report["results"] if result["status"] in ("failed", "error")] == []
    done = {result["id"] for result in report["results"] if result["status"] == "passed"}
    assert {"CLUSTER-021", "CLUSTER-023", "CLUSTER-024", "CLUSTER-042", "NODE-046", "NODE-048"} <= done


@pytest.mark.parametrize("drill", ["worker-poweroff", "partition"])
def test_a_worker_is_lost_and_returns(drill: str, lab: Lab) -> None:
    verdict = lab.cli.json("drill", drill)
    assert verdict["verdict"] == "pass", verdict
    assert lab.cli.json("status")["broken"] == []


def test_a_stop_and_a_start(lab: Lab) -> None:
    lab.cli("stop")
    lab.cli("start")
    assert [r for r in lab.cli.json("verify")["results"] if r["status"] in ("failed", "error")] == []
