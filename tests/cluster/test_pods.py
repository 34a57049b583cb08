"""What a pod is given, and how people reach into it."""

from __future__ import annotations

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look
from labctl.verify.probes import GREETING, NAMESPACE, PASSWORD, PORT, Probes, name_of
from labctl.verify.shell import heard

KUBECTL = f"kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace={NAMESPACE}"
COPY = (
    "folder=$(mktemp -d) && trap 'rm -r $folder' EXIT && "
    f"{KUBECTL} cp %s:/shared/index.html $folder/copy --container=web > /dev/null && cat $folder/copy"
)
WATCH = """
folder=$(mktemp -d); trap 'kill $watched; rm -r $folder' EXIT
mkfifo $folder/in; exec 3<> $folder/in; touch $folder/out
COMMAND < $folder/in > $folder/out 2>&1 &
watched=$!
echo anybody there >&3
timeout 10 tail -n +1 -f --pid=$watched $folder/out | grep -m 1 LINE || { cat $folder/out >&2; exit 1; }
"""
"""Runs what does not end by itself until it has said LINE; its input stays open."""
ATTACH = WATCH.replace("COMMAND", f"{KUBECTL} attach --stdin --quiet %s --container=echo").replace("LINE", "anybody")
FORWARD = WATCH.replace("COMMAND", f"{KUBECTL} port-forward %s :{PORT}").replace("LINE", "Forwarding > /dev/null")
FORWARD += """
port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' $folder/out)
python3 -c %s '{"page": {"url": "http://127.0.0.1:'$port'/"}}'
"""


def on_each(probes: Probes) -> list[str]:
    """Nodes whose probe is Ready."""
    found = [node for node, is_ready in sorted(probes.ready.items()) if is_ready]
    return found or pytest.skip("no probe is Ready: see CLUSTER-022")


@check(
    "CLUSTER-031",
    "volumes mount: an emptyDir is shared within a pod, a hostPath is the machine's own file",
    why="Whatever pods keep or read goes through the kubelet's mounts; on a machine whose mounts do not propagate a "
    "pod starts, and finds its folders empty.",
    fix="labctl kubectl -- describe pod: FailedMount; findmnt -o TARGET,PROPAGATION / on the machine: shared",
    deep=True,
)
def test_volumes(cluster: Cluster, probes: Probes, expect: Expect) -> None:
    for node in on_each(probes):
        if probes.answering[node]:
            machine = heard(cluster.nodes[node], "cat /etc/machine-id").stdout.strip()
            seen = probes.sh(node, "cat /machine-id /shared/index.html").stdout.split()
            expect(f"machine-id and the note of the init container on {node}", [machine, node], seen)
    if not expect.seen:
        pytest.skip("no probe lets a command in: see CLUSTER-034")


@check(
    "CLUSTER-032",
    "ConfigMaps and Secrets arrive in pods, as files and in the environment",
    why="Programs get their settings and passwords that way; the kubelet fetches them from the API server when a pod "
    "starts.",
    fix="labctl kubectl -- describe pod: FailedMount, CreateContainerConfigError; journalctl -u kubelet on the node",
    deep=True,
)
def test_configuration_arrives(probes: Probes, expect: Expect) -> None:
    read = 'cat /letter/greeting; echo; cat /secret/password; echo; echo "$GREETING"; echo "$PASSWORD"'
    for node in on_each(probes):
        if probes.answering[node]:
            expect(f"on {node}", [GREETING, PASSWORD] * 2, probes.sh(node, read).stdout.splitlines())
    if not expect.seen:
        pytest.skip("no probe lets a command in: see CLUSTER-034")


@check(
    "CLUSTER-033",
    "logs of pods on every node can be read",
    why="Logs are the first thing anybody looks at; the API server fetches them from the kubelet's port 10250.",
    fix="from a control plane to port 10250 of the node: a firewall? the kubelet's certificate? journalctl -u kubelet",
    deep=True,
)
def test_logs(probes: Probes, expect: Expect) -> None:
    for node in on_each(probes):
        done = probes.kubectl("logs %s --container=web", name_of(node))
        expect(f"log on {node}", f"{node} serves", (done.stdout or done.stderr).strip()[:100])


@check(
    "CLUSTER-034",
    "commands run in pods on every node, and files are copied out of them",
    why="kubectl exec and cp are how people look inside; they stream through API server, kubelet and containerd.",
    fix="from a control plane to port 10250 of the node: a firewall? journalctl -u kubelet; journalctl -u containerd",
    deep=True,
)
def test_exec(probes: Probes, expect: Expect) -> None:
    for node in on_each(probes):
        done = probes.sh(node, "echo $NODE")
        expect(f"said by a command on {node}", node, (done.stdout or done.stderr).strip()[:100])
        done = probes.cluster.sh(COPY, name_of(node))
        expect(f"copied from {node}", node, (done.stdout or done.stderr).strip()[:100])


@check(
    "CLUSTER-035",
    "programs in pods on every node can be attached to",
    why="kubectl attach talks to a program that runs already, as kubectl run -it and kubectl debug do.",
    fix="from a control plane to port 10250 of the node: a firewall? journalctl -u kubelet; journalctl -u containerd",
    deep=True,
)
def test_attach(probes: Probes, expect: Expect) -> None:
    for node in on_each(probes):
        done = probes.cluster.sh(ATTACH, name_of(node))
        expect(f"echo on {node}", "anybody there", (done.stdout or done.stderr).strip()[:100])


@check(
    "CLUSTER-036",
    "ports of pods on every node can be forwarded",
    why="kubectl port-forward is how a page in the cluster is opened on a desk, without a Service.",
    fix="from a control plane to port 10250 of the node: a firewall? journalctl -u kubelet; journalctl -u containerd",
    deep=True,
)
def test_port_forward(probes: Probes, program: str, expect: Expect) -> None:
    for node in on_each(probes):
        done = probes.cluster.sh(FORWARD, name_of(node), program)
        answers = Look.read(done.stdout).answers if done.rc == 0 else {}
        seen = answers["page"].body.strip() if answers else done.stderr.strip()[:100]
        expect(f"page of {node}", node, seen)
