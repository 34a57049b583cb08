"""The cluster's own pods, and those that labctl put there: do they run, and did they run all the time?

Pods of others, a user's experiments among them, are not judged.
"""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look
from labctl.verify.gather import KUBEADMS, LEADERS, Objects, is_ours, is_ready, our_pods

JUDGED_S = 3600
"""What lies back longer is no news."""
SETTLING_S = 60
"""So long after a machine's start or a pod's creation, warnings are a matter of course: a slow lab's take longer, until
its last node is Ready."""
KNOWN_WARNINGS = {
    "CgroupV1": (".*", "the kubelet says so at each start on such a kernel"),
    "InvalidDiskCapacity": (".*", "the kubelet's first look at the image store, before it has counted"),
    "PossibleMemoryBackedVolumesOnDisk": (".*", "the machine has swap, which the lab permits"),
    "CheckLimitsForResolvConf": (".*", "the machine has more than three name servers; the first three are used"),
    "DNSConfigForming": (".*limits were exceeded.*", "the same, for one pod"),
    "FailedMount": (".*failed to sync .* cache.*", "the kubelet had just been started, or was slow; it tries again"),
    "Unhealthy": (
        "(Readiness|Startup) probe failed.*",
        "on a busy machine, or while it starts; CLUSTER-016 says whether it is Ready again, 017 whether it died",
    ),
    "Rebooted": (".*", "somebody switched the machine off and on"),
    "NodeNotReady": (".*", "the machine was away; CLUSTER-001 says whether it is back"),
    "FailedScheduling": (
        ".*untolerated taint.*",
        "no machine was there at that time; CLUSTER-016 says who still waits",
    ),
}


def seconds(stamp: str | None) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


@check(
    "CLUSTER-016",
    "the cluster's own DaemonSets, Deployments and pods are complete",
    why="kube-proxy, CoreDNS and the control plane's pods are what all else stands on; a missing one is felt on one "
    "node, or only when the other one dies.",
    fix="labctl kubectl -- get pods -A -o wide; describe and logs of the one that is not Ready",
)
def test_own_pods_run(objects: Objects, expect: Expect) -> None:
    for kind, wanted, ready in (
        ("daemonsets", ("status", "desiredNumberScheduled"), "numberAvailable"),
        ("deployments", ("spec", "replicas"), "availableReplicas"),
    ):
        for item in objects[kind]:
            if is_ours(item["metadata"]):
                name = f"{item['metadata']['name']} available"
                expect(name, item[wanted[0]].get(wanted[1], 0), item["status"].get(ready, 0))
    unready = [pod["metadata"]["name"] for pod in our_pods(objects) if not is_ready(pod)]
    expect.nothing("pods that are not Ready", unready)


@check(
    "CLUSTER-045",
    "what kubeadm put into the cluster is there",
    why="kube-proxy, CoreDNS, joins and renewals of certificates stand on it. Where it is gone, what runs goes on, and "
    "fails at its next start.",
    fix="on the first control plane: kubeadm init phase addon all, upload-config all, bootstrap-token, each with "
    "--config /etc/labctl/kubeadm.yml; bindings of addons come with them",
)
def test_kubeadms_objects(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    answers = {what: looks[cluster.first].answers[what] for what in KUBEADMS}
    if all(answer.is_silence for answer in answers.values()):
        pytest.skip("the API server does not answer: see CLUSTER-007")
    gone = [what for what, answer in answers.items() if answer.status == HTTPStatus.NOT_FOUND]
    expect.nothing(f"missing, of {len(answers)}", gone)


@check(
    "CLUSTER-017",
    "no container of the cluster's own ended without a reason",
    why="A program that ends and is started again looks healthy in between. Its machine's restart is a reason, a "
    "stop because its manifest was changed, and for a leader that the API server started anew; while not all nodes "
    "were Ready, a slow start is one. A crash, a failed liveness probe or want of memory are none.",
    fix="labctl kubectl -- -n NAMESPACE logs --previous POD; describe pod POD says how it ended. What is an hour old "
    "is not counted any more",
    past=True,
)
def test_restarts(looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    restarted, calm = [], _calm_since(objects)
    for pod in our_pods(objects):
        look = looks.get(pod["spec"].get("nodeName", ""))
        for container in pod["status"].get("containerStatuses", []):
            ended = container.get("lastState", {}).get("terminated")
            if not look or not look.booted or not ended or not _is_news(ended["finishedAt"], look):
                continue
            if not (
                seconds(ended["finishedAt"]) < calm
                or _is_machines_restart(ended, look)
                or _was_stopped(pod, container["name"], ended, objects)
                or _lost_its_lease(pod, ended, objects)
            ):
                restarted.append(f"{pod['metadata']['name']}: {ended.get('reason')}, exit code {ended.get('exitCode')}")
    expect.nothing("ended without a reason", restarted)


def _calm_since(objects: Objects) -> float:
    """When the last of the nodes became Ready. Before, a control plane on a slow machine misses its own probes."""
    return max(
        (
            seconds(condition["lastTransitionTime"])
            for node in objects["nodes"]
            for condition in node["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        ),
        default=0.0,
    )


def _was_stopped(pod: dict[str, Any], container: str, ended: dict[str, Any], objects: Objects) -> bool:
    """Whether the kubelet stopped the container for another reason than its liveness, and said so."""
    return any(
        event["reason"] == "Killing"
        and event["message"] == f"Stopping container {container}"
        and event["involvedObject"].get("name") == pod["metadata"]["name"]
        and 0 <= seconds(ended["finishedAt"]) - seconds(event.get("lastTimestamp")) < SETTLING_S
        for event in objects["events"]
    )


def _lost_its_lease(pod: dict[str, Any], ended: dict[str, Any], objects: Objects) -> bool:
    """Whether it is a leader that ended because the API server was away: by design, with exit code 1."""
    if pod["metadata"].get("labels", {}).get("component") not in LEADERS or ended.get("exitCode") != 1:
        return False
    began = [
        seconds(container.get("state", {}).get("running", {}).get("startedAt"))
        for server in objects["pods"]
        if server["metadata"].get("labels", {}).get("component") in ("kube-apiserver", "etcd")
        for container in server["status"].get("containerStatuses", [])
    ]
    return any(abs(stamp - seconds(ended["finishedAt"])) < SETTLING_S for stamp in began)


def _is_machines_restart(ended: dict[str, Any], look: Look) -> bool:
    """Whether what ended had been started before the machine was."""
    return seconds(ended.get("startedAt")) < look.booted


def _is_news(stamp: str | None, look: Look) -> bool:
    return look.now - seconds(stamp) < JUDGED_S


@check(
    "CLUSTER-018",
    "the events carry no surprise",
    why="Warnings are how Kubernetes says what it cannot do: mount, pull, probe, place. Those of the first minute of "
    "a machine or a pod, of the time until all nodes are Ready, and a list of known ones, are a matter of course.",
    fix="labctl kubectl -- get events -A --field-selector type=Warning. What is an hour old is not counted any more",
    past=True,
)
def test_events(cluster: Cluster, looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    pods = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in our_pods(objects)}
    surprises, calm = [], _calm_since(objects)
    for event in objects["events"]:
        # Of what an event is about, no field is certain: the API server's own about its ServiceCIDR have no name.
        what = {"kind": "", "name": "", **event["involvedObject"]}
        pod = pods.get((what.get("namespace", ""), what["name"])) if what["kind"] == "Pod" else None
        # Not every namespaced thing is named with its namespace: of what has none, only nodes are judged.
        is_systems = what["kind"] == "Node" or (what["kind"] != "Pod" and what.get("namespace") == "kube-system")
        judged = pod or is_systems
        node = pod["spec"].get("nodeName", "") if pod else what["name"]
        look = looks.get(node, looks[cluster.first])
        if event["type"] == "Warning" and judged and not _is_known(event, pod, look, calm):
            surprises.append(f"{what['kind']} {what['name']}: {event['reason']}: {event.get('message', '')[:120]}")
    expect.nothing("unexpected warnings", surprises)


def _is_known(event: dict[str, Any], pod: dict[str, Any] | None, look: Look, calm: float) -> bool:
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    began = max(look.booted, seconds(pod["metadata"]["creationTimestamp"]) if pod else 0)
    pattern, _ = KNOWN_WARNINGS.get(event["reason"], ("(?!)", ""))
    is_expected = re.fullmatch(pattern, event.get("message", ""), re.DOTALL) is not None
    return is_expected or seconds(last) < max(began + SETTLING_S, calm) or not _is_news(last, look)
