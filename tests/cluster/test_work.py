"""What the control plane does with work: places it, runs it to its end, replaces it, takes it away, and who may ask."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look
from labctl.verify.gather import is_ready
from labctl.verify.probes import NAMESPACE, Probes, name_of

PATIENCE_S = 60


@check(
    "CLUSTER-037",
    "a service account may do what its role says, and nothing else",
    why="RBAC is what keeps a program in one namespace from reading another one's Secrets. Its own token is used, as "
    "it lies in the pod.",
    fix="authorization-mode=Node,RBAC in /etc/kubernetes/manifests/kube-apiserver.yaml; labctl kubectl -- auth can-i "
    "--list --as=system:serviceaccount:labctl-verify:reader",
    deep=True,
)
def test_rbac(cluster: Cluster, probes: Probes, program: str, expect: Expect) -> None:
    node = next((node for node, can in probes.answering.items() if can), None)
    if node is None:
        pytest.skip("no probe lets a command in: see CLUSTER-034")
    api, own = f"https://{cluster.host(cluster.first)}:6443", f"/api/v1/namespaces/{NAMESPACE}"
    wanted = {
        f"GET {own}/pods": 200,
        f"GET {own}/secrets": 403,
        f"GET {own}/pods/{name_of(node)}/log": 403,
        f"DELETE {own}/pods/{name_of(node)}": 403,
        f"POST {own}/pods": 403,
        "GET /api/v1/namespaces/kube-system/pods": 403,
        "GET /api/v1/nodes": 403,
    }
    asked: dict[str, dict[str, Any]] = {}
    for request in wanted:
        method, _, path = request.partition(" ")
        asked[request] = {"url": api + path, "method": method, "bearer": "by standard input"}
        if method == "POST":
            asked[request] |= {"body": "{}", "headers": {"Content-Type": "application/json"}}
    done = cluster.sh(
        f"kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace={NAMESPACE} exec %s --container=web -- "
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token | python3 -c %s %s",
        name_of(node),
        program,
        json.dumps(asked),
    )
    expect("answers", wanted, {name: answer.status for name, answer in Look.read(done.stdout).answers.items()})


@check(
    "CLUSTER-038",
    "a pod that fits nowhere waits, and Kubernetes says why",
    why="Pending with a reason is how a full or mislabelled cluster shows itself; without it nobody knows what is "
    "missing.",
    fix="CLUSTER-010 says whether the scheduler is well; labctl kubectl -- -n kube-system logs kube-scheduler-NODE",
    deep=True,
)
def test_unschedulable(probes: Probes, expect: Expect) -> None:
    probes.kubectl(
        f"wait --for=jsonpath='{{.status.conditions[0].reason}}'=Unschedulable pod/nowhere --timeout={PATIENCE_S}s"
    )
    status = probes.cluster.get("pod nowhere --namespace=" + NAMESPACE)["status"]
    said = {condition["type"]: condition for condition in status.get("conditions", [])}.get("PodScheduled", {})
    expect("phase, reason", "Pending, Unschedulable", f"{status['phase']}, {said.get('reason', 'none')}")
    expect.within("message", "names the selector", said.get("message", ""), lambda seen: "selector" in seen)


@check(
    "CLUSTER-039",
    "a Job runs its pods to their end",
    why="It takes the whole chain: controller-manager makes pods, scheduler places them, kubelets run them and report "
    "their exit codes.",
    fix="labctl verify --only CLUSTER-010; labctl kubectl -- get events -A --field-selector type=Warning",
    deep=True,
)
def test_job(probes: Probes, expect: Expect) -> None:
    probes.kubectl(f"wait --for=condition=Complete job/count --timeout={PATIENCE_S}s")
    status = probes.cluster.get("job count --namespace=" + NAMESPACE)["status"]
    seen = f"{status.get('succeeded', 0)} succeeded, {status.get('failed', 0)} failed, {status.get('active', 0)} active"
    expect("pods", "2 succeeded, 0 failed, 0 active", seen)


@check(
    "CLUSTER-040",
    "a changed Deployment rolls out",
    why="New pods come, and old ones go once those are available: how every new version of a program arrives.",
    fix="labctl verify --only CLUSTER-010; labctl kubectl -- describe deployment: conditions",
    deep=True,
)
def test_rollout(probes: Probes, expect: Expect) -> None:
    probes.kubectl("set env deployment/roll ROUND=2")
    done = probes.kubectl(f"rollout status deployment/roll --timeout={PATIENCE_S}s")
    expect.within("rollout", "done", (done.stdout + done.stderr).strip()[-100:], lambda seen: "successfully" in seen)
    pods = probes.cluster.get("pods --selector=app=roll --namespace=" + NAMESPACE)["items"]
    live = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    expect(
        "Ready pods, of the new version",
        [2, 2],
        [len(live), sum("env" in pod["spec"]["containers"][0] for pod in live)],
    )


@check(
    "CLUSTER-041",
    "a deleted pod ends: at once if it obeys SIGTERM, after its grace period if not",
    why="A pod that does not get the signal loses what it was doing; one that cannot be ended holds its node, its "
    "volumes and its namespace.",
    fix="journalctl -u kubelet and -u containerd on the node; finalizers of the pod",
    deep=True,
)
def test_deletion(probes: Probes, expect: Expect) -> None:
    ready = probes.kubectl(f"wait --for=condition=Ready pod/leaver pod/stayer --timeout={PATIENCE_S}s")
    if ready.rc != 0:
        pytest.skip("the pods did not start: see CLUSTER-022 and CLUSTER-038")
    for name, why in (("leaver", "obeys, with 300 s of grace"), ("stayer", "is deaf, with 2 s of grace")):
        done = probes.kubectl(f"delete pod {name} --timeout={PATIENCE_S}s")
        seen = re.sub(r"\s+", " ", done.stderr.strip() or done.stdout.strip())[:120]
        expect.within(f"the pod that {why}", "deleted", seen, lambda seen: " deleted" in seen and "error" not in seen)
