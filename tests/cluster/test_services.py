"""Services, from the machines: kube-proxy, the cluster's DNS, the NodePort of hello-world."""

from __future__ import annotations

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look, in_url
from labctl.verify.gather import SETTLES_S, Objects, addresses, awaited


@check(
    "CLUSTER-019",
    "kube-proxy uses nftables on every node, and its table has every Service",
    why="A Service address exists in these tables alone: on a node whose table lags behind, a Service does not "
    "answer, or one that was deleted still does.",
    fix="labctl kubectl -- -n kube-system delete pod kube-proxy-... of the node: another one writes the table anew. If "
    "that does not help: nft delete table ip kube-proxy on the node, before",
)
def test_kube_proxy(looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    wanted = addresses(objects)
    for name, look in looks.items():
        expect(f"mode on {name}", "nftables", look.answers["proxy mode"].body[:60])
        seen = set(look.services)
        expect.nothing(f"Services that {name} lacks, of {len(wanted)}", wanted - seen)
        expect.nothing(f"Services that only {name} has", seen - wanted)


@check(
    "CLUSTER-020",
    "the cluster's DNS has two servers, and answers on every node by UDP and TCP",
    why="Nearly every program in a cluster begins with a name. With one server, names fail while its node dies; large "
    "answers come by TCP alone.",
    fix="labctl kubectl -- -n kube-system get pods -l k8s-app=kube-dns -o wide; their logs; if there are none: labctl "
    "kubectl -- -n kube-system scale deployment coredns --replicas=2. CLUSTER-045 says if their Service is gone",
)
def test_dns(cluster: Cluster, looks: dict[str, Look], objects: Objects, expect: Expect) -> None:
    endpoints = [
        endpoint["addresses"][0]
        for piece in objects["endpointslices"]
        if piece["metadata"]["labels"].get("kubernetes.io/service-name") == "kube-dns"
        for endpoint in piece.get("endpoints") or []
        if endpoint["conditions"].get("ready")
    ]
    if cluster.is_slow:
        expect("servers, on a slow machine", 1, len(set(endpoints)))
    else:
        expect.within("servers", "two or more", len(set(endpoints)), lambda seen: seen > 1)
    api = next(item["spec"]["clusterIP"] for item in objects["services"] if item["metadata"]["name"] == "kubernetes")
    for protocol in ("udp", "tcp"):
        answers = {name: look.answers[f"dns {protocol}"].body for name, look in looks.items()}
        expect(f"kubernetes.default by {protocol}", dict.fromkeys(answers, api), answers)


@check(
    "CLUSTER-021",
    "hello-world answers on its NodePort on every machine",
    why="A NodePort is the same page on any machine, with or without a pod there: what a load balancer in front "
    "counts on.",
    fix="labctl kubectl -- get pods,endpointslices -l app.kubernetes.io/name=hello; on the machine: nft list ruleset: "
    "who drops what is forwarded?",
)
def test_node_ports(cluster: Cluster, looks: dict[str, Look], program: str, objects: Objects, expect: Expect) -> None:
    if not cluster.variable("lab_hello_world", default=True):
        pytest.skip("lab_hello_world is off")
    hello = [item for item in objects["services"] if item["metadata"]["name"] == "hello"]
    expect.that("Service hello", "there; labctl up makes it", "there" if hello else "missing", bool(hello))
    if not hello:
        return
    port = hello[0]["spec"]["ports"][0]["nodePort"]
    asked = {
        f"{name} at {address}": {"url": f"http://{in_url(address)}:{port}/"}
        for name in looks
        for address in cluster.addresses(name)
    }
    answers = awaited(
        lambda: Look.at(cluster.nodes[cluster.first], program, asked).answers,
        lambda seen: 0 if {answer.status for answer in seen.values()} == {200} else SETTLES_S,
    )
    expect("answers", dict.fromkeys(asked, "200"), {name: str(answer) for name, answer in answers.items()})
