from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.verify import gather
from labctl.verify.cluster import Answer, Cluster, Look
from labctl.verify.gather import Gathered

BORN = datetime(2025, 12, 31, tzinfo=UTC)


def thing(name: str, namespace: str = "kube-system", **rest: object) -> dict[str, Any]:
    ready = {"type": "Ready", "status": rest.pop("ready", "True")}
    status = {"conditions": [ready], "phase": rest.pop("phase", "Running")}
    labels = {"app.kubernetes.io/managed-by": "labctl"} if rest.pop("ours", False) else {}
    meta = {"name": name, "namespace": namespace, "labels": labels, "creationTimestamp": BORN.isoformat()}
    return {"metadata": meta, "status": status, "spec": rest}


SERVICE = thing("dns", clusterIPs=["10.96.0.10"], ports=[{"protocol": "UDP", "port": 53}])


def seen(pods: list[dict[str, Any]], table: list[str], dns: int = 200, taint: str = "mine:NoSchedule") -> Gathered:
    key, _, effect = taint.partition(":")
    objects = {
        "nodes": [thing("one", taints=[{"key": key, "effect": effect}])],
        "pods": pods,
        "services": [SERVICE],
        "leases": [],
        "apiservices": [{"status": {"conditions": [{"type": "Available", "status": "True"}]}}],
    }
    return Gathered({"one": Look({"dns udp": Answer(dns, "")}, 0, 0, {}, table)}, objects)


TABLE = ["10.96.0.10 udp 53"]


@pytest.mark.parametrize(
    ("gathered", "settled"),
    [
        (seen([thing("dns")], TABLE), True),
        (seen([thing("dns", ready="False")], TABLE), False),
        (seen([thing("dns", ready="False", phase="Failed")], TABLE), True),  # its successor counts
        (seen([thing("mine", "default", ready="False")], TABLE), True),  # a user's
        (seen([thing("hello", "default", ours=True, ready="False")], TABLE), False),
        (seen([thing("victim", "labctl-drill", ours=True, ready="False")], TABLE), True),
        (seen([thing("dns")], []), False),
        (seen([thing("dns")], TABLE, dns=0), False),
        (seen([thing("dns")], TABLE, taint="node.kubernetes.io/not-ready:NoSchedule"), False),
        (seen([thing("dns")], TABLE, taint="node.kubernetes.io/unschedulable:NoSchedule"), True),  # somebody's cordon
        (Gathered({}, None), False),
    ],
)
def test_when_a_lab_needs_no_second_look(gathered: Gathered, *, settled: bool) -> None:
    assert gather._is_settled(gathered) is settled


@pytest.mark.parametrize(
    ("renewed", "holder", "settled"), [(0, "cp-1_x", True), (-20, "cp-1_x", False), (-20, "", True)]
)
def test_who_leads_may_take_its_lease_up_again(renewed: int, holder: str, *, settled: bool) -> None:
    gathered = seen([thing("dns")], TABLE)
    at = datetime.fromtimestamp(renewed, UTC).isoformat()
    lease = thing("kube-scheduler", holderIdentity=holder, renewTime=at, leaseDurationSeconds=15)
    assert gathered.objects is not None
    gathered.objects["leases"].append(lease)
    assert gather._is_settled(gathered) is settled


@pytest.mark.parametrize(
    ("age", "wells", "patience"),
    [
        (3.9, True, 0),
        (4, True, gather.LEASES_SETTLE_S),
        (None, True, gather.LEASES_SETTLE_S),
        (4, False, gather.SETTLES_S),
    ],
)
def test_a_late_lease_alone_deserves_more_patience(age: float | None, patience: float, *, wells: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    gathered = seen([thing("dns")], TABLE if wells else [])
    gathered.looks["one"] = replace(gathered.looks["one"], now=now.timestamp())
    renewed = {"renewTime": (now - timedelta(seconds=age)).isoformat()} if age is not None else {}
    lease = {
        "metadata": {"name": "one", "namespace": "kube-node-lease"},
        "spec": {"leaseDurationSeconds": 4, **renewed},
    }
    leader = {"metadata": {"name": "kube-scheduler", "namespace": "kube-system"}, "spec": {}}
    assert gathered.objects is not None
    gathered.objects["leases"] = [lease, leader]
    assert gather._patience(gathered, "one") == patience


@pytest.mark.parametrize("status", [{}, {"conditions": [{"type": "Available", "status": "False"}]}])
def test_an_api_whose_server_was_on_a_lost_machine_may_come_back(status: dict[str, Any]) -> None:
    gathered = seen([thing("dns")], TABLE)
    assert gathered.objects is not None
    gathered.objects["apiservices"].append({"status": status})
    assert not gather._is_settled(gathered)


def test_a_machine_that_is_off_is_not_waited_for() -> None:
    gathered = seen([thing("dns", ready="False")], [])
    gathered.looks["two"] = Look({}, 0, 0, {}, [], is_silent=True)
    assert gather._patience(gathered, "one") == 0


@pytest.mark.parametrize(("age", "patience"), [(14.9, 0), (15, gather.LEASES_SETTLE_S)])
def test_a_lease_that_is_not_there_deserves_patience_but_a_new_node_has_none_yet(age: float, patience: float) -> None:
    gathered = seen([thing("dns")], TABLE)
    gathered.looks["one"] = replace(gathered.looks["one"], now=BORN.timestamp() + age)
    assert gathered.objects is not None
    gathered.objects["leases"] = []
    assert gather._patience(gathered, "one") == patience


def test_what_is_not_right_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    numbers = iter(range(9))
    assert gather.awaited(lambda: next(numbers), lambda seen: 60 if seen < 3 else 0) == 3


def test_in_the_end_it_is_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(9))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("time.sleep", lambda _: None)
    numbers = iter(range(9))
    assert gather.awaited(lambda: next(numbers), lambda _: 3) == 2


def test_only_control_planes_are_asked_for_etcd_and_only_the_first_for_objects() -> None:
    addresses = {"cp-1": "192.0.2.1", "cp-2": "192.0.2.2", "worker-1": "192.0.2.3"}
    variables = {
        name: {"node_address": address, "lab_service_network": "10.7.0.0/16"} for name, address in addresses.items()
    }
    cluster = Cluster(dict.fromkeys(addresses), ["cp-1", "cp-2"], variables)
    asked = {name: gather.questions(cluster, name) for name in addresses}
    assert {name: "etcd" in them for name, them in asked.items()} == {"cp-1": True, "cp-2": True, "worker-1": False}
    assert [name for name, them in asked.items() if "events" in them] == ["cp-1"]
    assert asked["worker-1"]["dns udp"]["dns"] == "10.7.0.10"
    assert asked["worker-1"]["ready cp-2"]["url"] == "https://192.0.2.2:6443/readyz"


@pytest.mark.parametrize(("cni", "around"), [("routed", 0), ("vxlan", 50), ("none", None)])
def test_each_machine_sends_the_others_a_packet_of_a_pods_full_size(cni: str, around: int | None) -> None:
    variables = {name: {"node_address": f"192.0.2.{n}", "lab_cni": cni} for n, name in enumerate(("one", "two"))}
    asked = gather.questions(Cluster(dict.fromkeys(variables), ["one"], variables), "one")
    echoes = {name: question for name, question in asked.items() if "echo" in question}
    assert echoes == ({} if around is None else {"echo two": {"echo": "192.0.2.1", "around": around}})


def test_of_a_cluster_with_ipv6_alone_addresses_stand_in_brackets_where_urls_are() -> None:
    networks = {"lab_cni": "vxlan", "lab_service_network": "fd00:10:96::/112"}
    variables = {name: {"node_address": f"fd00::{n}", **networks} for n, name in enumerate(("one", "two"), start=1)}
    asked = gather.questions(Cluster(dict.fromkeys(variables), ["one"], variables), "one")
    assert asked["kubelet"]["url"] == "https://[fd00::1]:10250/pods"
    assert asked["etcd"]["url"] == "https://[fd00::1]:2379/health"
    assert asked["dns udp"]["dns"] == "fd00:10:96::a"
    assert asked["echo two"] == {"echo": "fd00::2", "around": 70}, "an IPv6 header is longer"


def test_slow_machines_may_take_their_time_to_answer() -> None:
    for slow in (False, True):
        variables = {"cp-1": {"node_address": "192.0.2.1", "lab_slow_machine": slow}}
        asked = gather.questions(Cluster(dict.fromkeys(variables), ["cp-1"], variables), "cp-1")
        assert {question.get("patience_s") for question in asked.values()} == {gather.SLOWLY_S if slow else None}


def test_what_the_api_did_not_give_is_told() -> None:
    answers = {kind: Answer(200, '{"items": []}') for kind in gather.KINDS}
    assert gather.withheld(Look(answers, 0, 0, {}, [])) == []
    answers["pods"], answers["nodes"] = Answer(0, "TimeoutError"), Answer(403, "no")
    assert sorted(gather.withheld(Look(answers, 0, 0, {}, []))) == ["nodes: 403 no", "pods: 0 TimeoutError"]


def test_a_machine_that_ssh_does_not_reach_is_a_silent_one() -> None:
    class Host:
        def run(self, *_words: str) -> None:
            raise RuntimeError(SimpleNamespace(stderr="banner\nssh: Connection timed out\n"))

    host: Any = Host()
    look = Look.at(host, "program", {"dns udp": {}})
    assert look.answers == {"dns udp": Answer(0, "the machine is not reached: ssh: Connection timed out")}
    assert look.booted == 0
