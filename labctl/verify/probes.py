"""The pods of the deep checks: one on every node, with Services before them, in a namespace of their own.

All deep checks of tests/cluster share them. They run busybox, which every bundle has: there may be no registry.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from testinfra.backend.base import CommandResult

from labctl.verify.cluster import Cluster, Json
from labctl.verify.expect import NothingToSeeError
from labctl.verify.gather import is_ready

NAMESPACE = "labctl-verify"
IMAGE = "localhost/busybox:1"
PORT, HOST_PORT = 8080, 18080
GREETING, PASSWORD = "hello from a ConfigMap", "no secret at all"
BODY_BYTES = 100 * 1024
START_S, GONE_S = 60, 90
_REFUSED = (
    f"let pods into the namespace {NAMESPACE}: labctl kubectl -- get validatingwebhookconfigurations,"
    "mutatingwebhookconfigurations,validatingadmissionpolicies lists what may refuse them"
)
_OWNED = {"app.kubernetes.io/managed-by": "labctl"}
_FILL = f"seq 1 30000 | head -c {BODY_BYTES} > /shared/body && echo $NODE > /shared/index.html"
_BODY = "".join(f"{number}\n" for number in range(1, 30001)).encode()[:BODY_BYTES]
NOTHING_MD5 = hashlib.md5(b"").hexdigest()  # noqa: S324 (no secret)
BODY_MD5 = hashlib.md5(_BODY).hexdigest()  # noqa: S324 (no secret)


@dataclass
class Probes:
    """What was started, as checks use it. `ready` and `answering`: is a node's pod Ready, and lets it commands in?"""

    cluster: Cluster
    pods: dict[str, Json] = field(default_factory=dict)
    """each node's probe, as the API server has it"""
    ready: dict[str, bool] = field(default_factory=dict)
    answering: dict[str, bool] = field(default_factory=dict)

    problem: str = ""
    """why they could not be made; told by the check `told_by` alone"""
    told_by: str = ""

    def begin(self) -> None:
        """As `start`, but what it raises is kept for `for_check`."""
        try:
            self.start()
        except AssertionError as error:
            self.problem = " ".join(dict.fromkeys(str(error).splitlines())) or "no reason was given"

    def for_check(self, number: str) -> Probes:
        """Themselves. If they could not be made, the first check that wants them says so, and the others are skipped.

        Raises `NothingToSeeError`.
        """
        if not self.problem:
            return self
        self.told_by = self.told_by or number
        if number != self.told_by:
            pytest.skip(f"the probes could not be made: see {self.told_by}")
        raise NothingToSeeError(f"the probes could not be made: {self.problem}", _REFUSED)

    def start(self) -> None:
        """Make everything, and wait until the probes are Ready, or for `START_S`."""
        assert not self._is_somebody_elses(), f"there is a namespace {NAMESPACE} already, without labctl's label"
        self.remove()  # what a killed run left
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents(list(self.cluster.nodes))})
        kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
        # Pods are admitted once their namespace has its service account, a moment after it was made.
        made = self.cluster.sh(
            f"{kubectl} create -f - <<'END' && {kubectl} -n {NAMESPACE} wait --for=create serviceaccount/default "
            f"--timeout={START_S}s\n{json.dumps(namespace())}\nEND"
        )
        assert made.rc == 0, made.stderr
        made = self.cluster.sh(f"{kubectl} create -f - <<'END'\n{document}\nEND")
        assert made.rc == 0, made.stderr
        self.kubectl(f"wait --for=condition=Ready pod --selector=probe --timeout={START_S}s")
        self.look()

    def look(self) -> None:
        """See which probes are Ready, and which let commands in."""
        items = self.cluster.get("pods --selector=probe --namespace=" + NAMESPACE)["items"]
        self.pods = {pod["spec"]["nodeName"]: pod for pod in items}
        self.ready = {node: node in self.pods and is_ready(self.pods[node]) for node in self.cluster.nodes}
        self.answering = self.cluster.each(lambda node: self.ready[node] and self.sh(node, "true").rc == 0)

    def remove(self) -> None:
        """Delete the namespace with all that is in it, if it is labctl's, and wait until it is gone."""
        if self._is_somebody_elses():
            return
        gone = self.cluster.run(f"delete namespace {NAMESPACE} --ignore-not-found --timeout={GONE_S}s")
        assert gone.rc == 0, gone.stderr

    def _is_somebody_elses(self) -> bool:
        """Whether there is such a namespace without labctl's label."""
        there = self.cluster.run(f"get namespace {NAMESPACE} --ignore-not-found --output json")
        assert there.rc == 0, there.stderr
        labels = json.loads(there.stdout)["metadata"].get("labels", {}) if there.stdout.strip() else _OWNED
        return not _OWNED.items() <= labels.items()

    def kubectl(self, command: str, *words: str) -> CommandResult:
        """`kubectl COMMAND` in the probes' namespace."""
        return self.cluster.run(f"--namespace={NAMESPACE} {command}", *words)

    def sh(self, node: str, script: str) -> CommandResult:
        """A shell script in the probe of `node`."""
        return self.kubectl("exec %s --container=web -- sh -c %s", name_of(node), script)

    def addresses(self, node: str) -> list[str]:
        """The probe's own, one of each family; the preferred one first."""
        return [str(entry["ip"]) for entry in self.pods[node]["status"].get("podIPs", [])]


def name_of(node: str) -> str:
    """The probe on `node`."""
    return f"probe-{node}"


def namespace() -> Json:
    """Where all is."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": _OWNED}}


def documents(nodes: list[str]) -> list[Json]:
    """All but the namespace."""
    return [
        _document("v1", "ServiceAccount", "reader"),
        _document("rbac.authorization.k8s.io/v1", "Role", "reader", rules=[_READS_PODS]),
        _document(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "reader",
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            subjects=[{"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}],
        ),
        _document("v1", "ConfigMap", "letter", data={"greeting": GREETING}),
        _document("v1", "Secret", "letter", data={"password": base64.b64encode(PASSWORD.encode()).decode()}),
        _document("v1", "Service", "web", spec=_service()),
        _document("v1", "Service", "peers", spec=_service(clusterIP="None")),
        *(_document("v1", "Pod", name_of(node), labels={"probe": "web"}, spec=_probe(node)) for node in nodes),
        _document("v1", "Pod", "nowhere", spec=_short("true", nodeSelector={"labctl-verify": "nowhere"})),
        _document("v1", "Pod", "leaver", spec=_short(_LEAVE, terminationGracePeriodSeconds=300)),
        _document("v1", "Pod", "stayer", spec=_short(_STAY, terminationGracePeriodSeconds=2)),
        _document("batch/v1", "Job", "count", spec=_job()),
        _document("apps/v1", "Deployment", "roll", spec=_deployment()),
    ]


_READS_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
_LEAVE = "trap 'exit 0' TERM; while true; do sleep 1 & wait; done"
_STAY = "trap '' TERM; while true; do sleep 1; done"


def _document(api: str, kind: str, name: str, labels: dict[str, str] | None = None, **rest: Any) -> Json:  # noqa: ANN401
    meta = {"name": name, "namespace": NAMESPACE, "labels": {**_OWNED, **(labels or {})}}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **rest}


def _service(**rest: str) -> Json:
    ports = [{"port": 80, "targetPort": PORT}]
    return {"selector": {"probe": "web"}, "ports": ports, "ipFamilyPolicy": "PreferDualStack", **rest}


def _probe(node: str) -> Json:
    """A web server behind a host port, with one of each volume; beside it a program that repeats what it is told."""
    mounts = [
        {"name": "shared", "mountPath": "/shared"},
        {"name": "machine", "mountPath": "/machine-id", "readOnly": True},
        {"name": "letter", "mountPath": "/letter"},
        {"name": "secret", "mountPath": "/secret"},
    ]
    greeting = {"configMapKeyRef": {"name": "letter", "key": "greeting"}}
    password = {"secretKeyRef": {"name": "letter", "key": "password"}}
    env = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "GREETING", "valueFrom": greeting},
        {"name": "PASSWORD", "valueFrom": password},
    ]
    serve = f'echo "$NODE serves"; exec httpd -f -p {PORT} -h /shared'
    ports = [{"containerPort": PORT, "hostPort": HOST_PORT}]
    ready = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    return {
        "nodeName": node,
        "serviceAccountName": "reader",
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "volumes": [
            {"name": "shared", "emptyDir": {}},
            {"name": "machine", "hostPath": {"path": "/etc/machine-id", "type": "File"}},
            {"name": "letter", "configMap": {"name": "letter"}},
            {"name": "secret", "secret": {"secretName": "letter"}},
        ],
        "initContainers": [_container("fill", _FILL, env=env, volumeMounts=mounts)],
        "containers": [
            _container("web", serve, env=env, volumeMounts=mounts, ports=ports, readinessProbe=ready),
            _container("echo", "cat", stdin=True),
        ],
    }


def _container(name: str, script: str, **rest: Any) -> Json:  # noqa: ANN401
    return {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **rest}


def _short(script: str, **rest: Any) -> Json:  # noqa: ANN401
    """A pod for the scheduler to place, whatever taints people have set."""
    quick = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        **rest,
    }
    return {"containers": [_container("main", script)], **quick}


def _job() -> Json:
    return {
        "completions": 2,
        "parallelism": 2,
        "backoffLimit": 1,
        "template": {"spec": _short("echo done", restartPolicy="Never")},
    }


def _deployment() -> Json:
    labels = {"app": "roll"}
    return {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _short("sleep 100000")},
    }
