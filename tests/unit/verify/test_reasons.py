"""Which restarts have a reason, and which warnings are a matter of course."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labctl.verify import Expect
from labctl.verify.cluster import Look
from tests.cluster import test_system as checks

BOOTED, NOW = 1_000_000, 1_001_000
LOOK = Look({}, BOOTED, NOW, {}, [])


def stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(component: str, **state: object) -> dict[str, Any]:
    return {
        "metadata": {"name": component, "namespace": "kube-system", "labels": {"component": component}},
        "spec": {"nodeName": "one"},
        "status": {"containerStatuses": [{"name": "main", **state}], "phase": "Running"},
    }


def ended(component: str, began: int, at: int, code: int = 1) -> dict[str, Any]:
    how = {"startedAt": stamp(began), "finishedAt": stamp(at), "exitCode": code, "reason": "Error"}
    return pod(component, lastState={"terminated": how})


def killing(at: int, message: str = "Stopping container main") -> dict[str, Any]:
    what = {"kind": "Pod", "namespace": "kube-system", "name": "kube-proxy"}
    return {"involvedObject": what, "reason": "Killing", "message": message, "lastTimestamp": stamp(at)}


def node(since: int, status: str = "True") -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "lastTransitionTime": stamp(since)}
    return {
        "status": {"conditions": [ready, {"type": "DiskPressure", "status": "True", "lastTransitionTime": stamp(NOW)}]}
    }


NODES = [node(BOOTED + 10), node(BOOTED + 400), node(NOW, "Unknown")]
SERVER = pod("kube-apiserver", state={"running": {"startedAt": stamp(NOW - 100)}})


@pytest.mark.parametrize(
    ("one", "has_reason"),
    [
        (ended("kube-proxy", BOOTED - 50, BOOTED + 3, 255), True),  # the machine was switched off
        (ended("kube-proxy", BOOTED + 5, NOW - 100), False),
        (ended("kube-proxy", BOOTED + 5, NOW - 3601), True),  # no news
        (ended("kube-scheduler", BOOTED + 5, NOW - 130), True),  # the API server was away
        (ended("kube-scheduler", BOOTED + 5, NOW - 130, 137), False),
        (ended("kube-scheduler", BOOTED + 5, NOW - 300), False),
        (ended("etcd", BOOTED + 5, NOW - 100), False),
        (ended("etcd", BOOTED + 5, BOOTED + 399, 137), True),  # not all nodes were Ready yet
        (ended("etcd", BOOTED + 5, BOOTED + 401, 137), False),
    ],
)
def test_restarts(one: dict[str, Any], *, has_reason: bool) -> None:
    expect = Expect()
    checks.test_restarts({"one": LOOK}, {"pods": [one, SERVER], "events": [], "nodes": NODES}, expect)
    assert (expect.wrong == []) is has_reason


@pytest.mark.parametrize(
    ("event", "has_reason"),
    [
        (killing(NOW - 101), True),
        (killing(NOW - 99), False),  # another stop than the one that ended it
        (killing(NOW - 200), False),
        (killing(NOW - 101, "Container main failed liveness probe, will be restarted"), False),
        ({**killing(NOW - 101), "involvedObject": {"name": "another"}}, False),
    ],
)
def test_a_container_that_the_kubelet_was_told_to_stop(event: dict[str, Any], *, has_reason: bool) -> None:
    expect = Expect()
    one = ended("kube-proxy", BOOTED + 5, NOW - 100, 2)
    checks.test_restarts({"one": LOOK}, {"pods": [one], "events": [event], "nodes": NODES}, expect)
    assert (expect.wrong == []) is has_reason


def event(reason: str, at: int, message: str = "", kind: str = "Pod") -> dict[str, Any]:
    what = {"kind": kind, "namespace": "kube-system", "name": "kube-proxy"}
    return {"involvedObject": what, "type": "Warning", "reason": reason, "message": message, "lastTimestamp": stamp(at)}


@pytest.mark.parametrize(
    ("one", "is_surprise"),
    [
        (event("FailedMount", NOW - 10), True),
        (event("FailedMount", BOOTED + 30), False),  # the machine's first minute
        (event("Unhealthy", BOOTED + 399, "Liveness probe failed: timeout"), False),  # not all nodes were Ready yet
        (event("Unhealthy", BOOTED + 401, "Liveness probe failed: timeout"), True),
        (event("FailedMount", NOW - 10, kind="DaemonSet"), True),
        (event("NodeNotReady", NOW - 10), False),
        (event("Unhealthy", NOW - 10, "Readiness probe failed: timeout"), False),
        (event("Unhealthy", NOW - 10, "Liveness probe failed: timeout"), True),
        (event("FailedScheduling", NOW - 10, "0/3 nodes are available: 1 node(s) had untolerated taint(s)."), False),
        (event("FailedScheduling", NOW - 10, "0/3 nodes are available: 3 Insufficient cpu."), True),
        ({**event("FailedMount", NOW - 10), "type": "Normal"}, False),
        ({**event("FailedMount", BOOTED + 30), "series": {"lastObservedTime": stamp(NOW - 10)}}, True),
    ],
)
def test_warnings(one: dict[str, Any], *, is_surprise: bool) -> None:
    proxy = pod("kube-proxy")
    proxy["metadata"]["creationTimestamp"] = stamp(BOOTED - 500)
    expect = Expect()
    cluster: Any = type("One", (), {"first": "one"})
    checks.test_events(cluster, {"one": LOOK}, {"pods": [proxy], "events": [one], "nodes": NODES}, expect)
    assert (expect.wrong != []) is is_surprise


def test_a_users_pods_are_not_judged() -> None:
    mine = {**event("BackOff", NOW - 10), "involvedObject": {"kind": "Pod", "namespace": "default", "name": "mine"}}
    expect = Expect()
    cluster: Any = type("One", (), {"first": "one"})
    checks.test_events(cluster, {"one": LOOK}, {"pods": [], "events": [mine], "nodes": NODES}, expect)
    assert expect.wrong == []
