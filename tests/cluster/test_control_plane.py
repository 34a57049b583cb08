"""API servers, etcd, and who leads."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look
from labctl.verify.gather import LEADERS, Objects, is_available, withheld

GOES_WITHIN_S = 60
"""A namespace waits for its pods: 30 s of grace by default."""


def is_below(limit: float, seen: float | None) -> bool:
    return seen is not None and seen < limit


@check(
    "CLUSTER-007",
    "every API server is ready, and every node reaches it",
    why="All else goes through it: a node that does not reach it is called dead, and a server that is not ready "
    "answers some requests and fails others.",
    fix="labctl kubectl -- get --raw '/readyz?verbose' names the part that is not ready; firewalls of the two machines",
)
def test_api_servers(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    for server in cluster.control_planes:
        answers = {name: str(look.answers[f"ready {server}"]) for name, look in looks.items()}
        expect(f"readiness of {server} seen from", dict.fromkeys(answers, "200"), answers)
    expect.nothing(f"lists that {cluster.first} does not give", withheld(looks[cluster.first]))


@check(
    "CLUSTER-008",
    "etcd has one healthy member on each control plane, and they agree on a leader",
    why="All objects are in etcd. With a member less than control planes it survives fewer failures than it seems; "
    "without a leader nothing can be written.",
    fix="labctl kubectl -- -n kube-system logs etcd-NODE. An alarm NOSPACE: in that pod etcdctl compact, defrag, then "
    "alarm disarm (https://etcd.io/docs/latest/op-guide/maintenance/#space-quota)",
)
def test_etcd(cluster: Cluster, control_planes: list[str], looks: dict[str, Look], expect: Expect) -> None:
    leaders = set()
    for name in control_planes:
        answers = looks[name].answers
        expect(f"health of {name}", "200", str(answers["etcd"]))
        if answers["etcd members"].status == 200:
            members = [member.get("name", "unstarted") for member in answers["etcd members"].json()["members"]]
            expect(f"members that {name} knows", sorted(cluster.control_planes), sorted(members))
        if answers["etcd status"].status == 200:
            status = answers["etcd status"].json()
            expect.nothing(f"errors of {name}", status.get("errors", []))
            leaders.add(status.get("leader", "none"))
    expect.within("leaders", "one", leaders, lambda seen: len(seen) == 1 and seen != {"none"})


@check(
    "CLUSTER-009",
    "etcd talks to nobody without a certificate",
    why="Who reads etcd reads every Secret, and who writes it is administrator, past all of Kubernetes' own rules.",
    fix="--client-cert-auth=true and --peer-client-cert-auth=true in /etc/kubernetes/manifests/etcd.yaml",
)
def test_etcd_asks_for_certificates(control_planes: list[str], looks: dict[str, Look], expect: Expect) -> None:
    questions = ("anonymous etcd", "anonymous etcd peer")
    asked = {
        f"{question} on {name}": looks[name].answers[question] for name in control_planes for question in questions
    }
    answered = {what: answer for what, answer in asked.items() if not answer.is_silence}
    if not answered:
        pytest.skip("etcd does not answer: see CLUSTER-008")
    for what, answer in answered.items():
        expect.within(
            what,
            "refused for want of a certificate",
            answer.body[:100] if answer.status == 0 else answer.status,
            lambda seen: "certificate" in str(seen).lower(),
        )


@check(
    "CLUSTER-010",
    "controller-manager and scheduler have a leader each, who renews its lease",
    why="Without them the cluster stands still while it looks healthy: no pod is made, none gets a node, no dead node "
    "is noticed.",
    fix="labctl kubectl -- -n kube-system get pods; logs kube-controller-manager-NODE (kube-scheduler-NODE); is its "
    "manifest there (NODE-041)?",
)
def test_leaders(cluster: Cluster, looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    leases = {
        lease["metadata"]["name"]: lease["spec"]
        for lease in objects["leases"]
        if lease["metadata"]["namespace"] == "kube-system"
    }
    if cluster.is_slow and len(cluster.control_planes) == 1:
        expect("leases of those that need no leader", {}, {name: leases[name] for name in LEADERS if name in leases})
        return
    # They sign with the machine's name for itself.
    hostnames = {looks[node].hostname or node for node in cluster.control_planes}
    for name in LEADERS:
        spec = leases.get(name, {})
        holder, lasts = spec.get("holderIdentity", "").rpartition("_")[0], spec.get("leaseDurationSeconds", 0)
        expect.within(f"leader of {name}", "a control plane", holder, lambda seen: seen in hostnames)
        if not holder:
            continue  # who ends in peace gives the lease back; its age says nothing
        age = looks[cluster.first].now - datetime.fromisoformat(spec["renewTime"]).timestamp()
        expect.within(f"age of {name}'s lease in seconds", f"below {lasts}", round(age), partial(is_below, lasts))


@check(
    "CLUSTER-043",
    "every registered API is served, and namespaces that are deleted go",
    why="The API server hands requests of some groups to servers behind a Service. With one of them gone, nobody knows "
    "whether a namespace is empty: from then on none can be deleted.",
    fix="labctl kubectl -- get apiservices: delete the one that is not Available, or mend its server; describe "
    "namespace NAME says what its deletion waits for",
)
def test_nothing_is_stuck(cluster: Cluster, looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    gone = [service["metadata"]["name"] for service in objects["apiservices"] if not is_available(service)]
    expect.nothing("APIs that are not available", gone)
    patience = GOES_WITHIN_S * (5 if cluster.is_slow else 1)
    ends = {
        meta["name"]: meta.get("deletionTimestamp") for meta in (item["metadata"] for item in objects["namespaces"])
    }
    latest = looks[cluster.first].now - patience
    late = [name for name, end in ends.items() if end and datetime.fromisoformat(end).timestamp() < latest]
    expect.nothing(f"namespaces that stay Terminating for over {patience} s", late)
