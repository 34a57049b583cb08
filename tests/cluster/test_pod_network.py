"""Packets between machines, and with a probe on every node between pods, nodes and Services."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

import pytest

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look, in_url
from labctl.verify.probes import BODY_BYTES, BODY_MD5, HOST_PORT, NAMESPACE, NOTHING_MD5, PORT, Probes

OUTSIDE = "kubernetes.io"
OK = HTTPStatus.OK


def from_each(probes: Probes, targets: dict[str, str], command: str) -> dict[str, dict[str, str]]:
    """What `command` prints in every probe for each of `targets`, in which it finds $target: by probe, by name."""
    nodes = [node for node, can in probes.answering.items() if can]
    if not nodes:
        pytest.skip("no probe lets a command in: see CLUSTER-022 and CLUSTER-034")
    lines = [
        f"(target={target}; echo \"{name} $({command} 2>&1 | tr '\\n' ' ')\") &" for name, target in targets.items()
    ]
    script = "\n".join([*lines, "wait"])

    def ask(node: str) -> dict[str, str]:
        if not probes.answering[node]:
            return {}
        said = dict(line.partition(" ")[::2] for line in probes.sh(node, script).stdout.splitlines())
        return {name: said.get(name, "").strip() for name in targets}

    return {node: said for node, said in probes.cluster.each(ask).items() if said}


def ready_addresses(probes: Probes) -> dict[str, str]:
    """Those of probes that are Ready, as URLs have them, by node; with two families those of the other by NODE,IPv6."""
    found: dict[str, str] = {}
    for node in (node for node, is_ready in probes.ready.items() if is_ready):
        first, *more = probes.addresses(node)
        found |= {node: in_url(first), **{f"{node},{'IPv6' if ':' in one else 'IPv4'}": in_url(one) for one in more}}
    return found


def nodes_of(names: Iterable[str]) -> dict[str, str]:
    return {name: name.partition(",")[0] for name in names}


def wrong(said: dict[str, dict[str, str]], right: dict[str, str]) -> list[str]:
    return [
        f"{source} to {target}: {word[:60] or 'nothing'}"
        for source, words in said.items()
        for target, word in words.items()
        if word != right[target]
    ]


@check(
    "CLUSTER-022",
    "a pod of the lab's own image starts on every node",
    why="An image that is not on the machine, a sandbox that cannot be made, an address that cannot be had: whatever "
    "keeps one pod from starting keeps all.",
    fix="labctl verify --only CLUSTER-022 while: labctl kubectl -- -n labctl-verify get events",
    deep=True,
)
def test_pods_start(cluster: Cluster, probes: Probes, expect: Expect) -> None:
    for node in sorted(cluster.nodes):
        waits = [
            state["state"].get("waiting", {}).get("reason", "not Ready")
            for key in ("initContainerStatuses", "containerStatuses")
            for state in probes.pods.get(node, {}).get("status", {}).get(key, [])
        ]
        expect(
            f"pod on {node}", "Ready", "Ready" if probes.ready[node] else ", ".join(dict.fromkeys(waits)) or "missing"
        )


@check(
    "CLUSTER-023",
    "every pod reaches the pods of all nodes",
    why="One missing route or one firewall between two of the machines, and programs fail depending on where they "
    "happen to run. Each ordered pair is tried, for a path may work one way only.",
    fix="ip route on both machines; systemctl restart labctl-network; firewalls of your own between them",
    deep=True,
)
def test_pod_to_pod(probes: Probes, expect: Expect) -> None:
    targets = ready_addresses(probes)
    said = from_each(probes, targets, f"wget -T 3 -q -O - http://$target:{PORT}/")
    expect.nothing(
        f"pairs without an answer, of {len(said) * len(targets)}",
        wrong(said, nodes_of(targets)),
    )


@check(
    "CLUSTER-024",
    "large packets pass between the pods of all nodes",
    why=f"Where a path takes smaller packets than its ends believe, small answers arrive and large ones hang. "
    f"{BODY_BYTES} "
    "bytes by HTTP are TCP segments of full size that must not be cut (DF is set), from each pod to each.",
    fix="ip link shows each link's MTU: the pods' must be no larger than what the way between the machines carries; "
    "let ICMP 'fragmentation needed' pass",
    deep=True,
)
def test_large_packets(probes: Probes, expect: Expect) -> None:
    targets = ready_addresses(probes)
    said = from_each(probes, targets, f"wget -T 3 -q -O - http://$target:{PORT}/body | md5sum | cut -d ' ' -f 1")
    told = {
        source: {target: word.replace(NOTHING_MD5, "0 bytes") for target, word in words.items()}
        for source, words in said.items()
    }
    expect.nothing(
        f"pairs without {BODY_BYTES} bytes, of {len(said) * len(targets)}",
        wrong(told, dict.fromkeys(targets, BODY_MD5)),
    )


@check(
    "CLUSTER-042",
    "machines hear each other, and packets as large as those of pods pass between them in one piece",
    why="Pods send packets as large as their interface says. Where the way between two machines carries less, each one "
    "is cut in two, or lost where nobody may tell the sender: TCP stalls, UDP stays away.",
    fix="a pair that hears nothing: ip neigh, ip route and nft list ruleset on both machines. One that small packets "
    "alone pass: networks.mtu in labctl.yml (lab_mtu), with what the way carries; labctl down, then up",
)
def test_full_size(looks: dict[str, Look], expect: Expect) -> None:
    asked = {
        (source, name.removeprefix("echo ")): answer
        for source, look in looks.items()
        for name, answer in look.answers.items()
        if name.startswith("echo ")
    }
    said = {f"{source} to {target}": answer for (source, target), answer in asked.items() if answer.status}
    if not said:
        pytest.skip("no machine answers another's echo requests (ICMP), or the pod network is not labctl's")
    cut = [f"{pair}: {answer.body} bytes" for pair, answer in said.items() if answer.status != OK]
    expect.nothing(f"pairs that only smaller packets pass between, of {len(said)}", cut)
    # Who answers nobody is off, or answers no such requests: that is for others to say.
    hears, heard = ({pair[side] for pair, answer in asked.items() if answer.status} for side in (0, 1))
    deaf = [
        f"{source} to {target}"
        for (source, target), answer in asked.items()
        if answer.is_silence and source in hears and target in heard
    ]
    expect.nothing(f"pairs that hear nothing, of {len(asked)}", deaf)


@check(
    "CLUSTER-025",
    "every pod reaches all nodes",
    why="Programs that watch the cluster ask kubelets, and those that use the API reach a control plane's own address.",
    fix="nft list ruleset on the node: what refuses packets from the pod network?",
    deep=True,
)
def test_pod_to_node(cluster: Cluster, probes: Probes, expect: Expect) -> None:
    targets = {node: cluster.host(node) for node in cluster.nodes}
    # The kubelet's port speaks TLS, and says so to whoever does not.
    said = from_each(probes, targets, "wget -T 3 -q -O - http://$target:10250/ 2>&1 | grep -o 'HTTP/1.. 400'")
    reached = {
        source: {name: "400" if "400" in word else word for name, word in words.items()}
        for source, words in said.items()
    }
    expect.nothing(
        f"pairs without an answer, of {len(said) * len(targets)}", wrong(reached, dict.fromkeys(targets, "400"))
    )


@check(
    "CLUSTER-026",
    "every node reaches the pods of all nodes",
    why="The API server calls webhooks in pods, and kubelets their own pods' probes, from the node's address.",
    fix="ip route on the node; nft list ruleset on both",
    deep=True,
)
def test_node_to_pod(cluster: Cluster, program: str, probes: Probes, expect: Expect) -> None:
    targets = {node: f"http://{address}:{PORT}/" for node, address in ready_addresses(probes).items()}
    _expect_answers(cluster, program, targets, expect)


@check(
    "CLUSTER-027",
    "a pod's host port answers at its machine's address",
    why="Ingress controllers and agents are reached at a port of the machine itself; the plugin portmap leads there.",
    fix="portmap in /etc/cni/net.d and in /opt/cni/bin; nft list table ip cni_hostport on the node",
    deep=True,
)
def test_host_ports(cluster: Cluster, program: str, probes: Probes, expect: Expect) -> None:
    if not ready_addresses(probes):
        pytest.skip("no probe is Ready: see CLUSTER-022")
    targets = {node: f"http://{cluster.host(node)}:{HOST_PORT}/" for node, is_ready in probes.ready.items() if is_ready}
    _expect_answers(cluster, program, targets, expect)


def _expect_answers(cluster: Cluster, program: str, targets: dict[str, str], expect: Expect) -> None:
    asked = {name: {"url": url} for name, url in targets.items()}
    looks = cluster.each(lambda node: Look.at(cluster.nodes[node], program, asked).answers)
    said = {node: {name: answer.body.strip() for name, answer in answers.items()} for node, answers in looks.items()}
    expect.nothing(
        f"pairs without an answer, of {len(said) * len(targets)}",
        wrong(said, nodes_of(targets)),
    )


@check(
    "CLUSTER-028",
    "a Service answers in a pod on every node, by address and by name",
    why="That is how programs in a cluster find each other: the name comes from CoreDNS, the address is kube-proxy's.",
    fix="CLUSTER-019, 020 and 045 say whether kube-proxy and CoreDNS are well, and what they may; their logs; "
    "/etc/resolv.conf in the pod",
    deep=True,
)
def test_service(probes: Probes, expect: Expect) -> None:
    service = probes.cluster.get("service web --namespace=" + NAMESPACE)["spec"]["clusterIPs"]
    targets = {f"address-{number}": in_url(address) for number, address in enumerate(service, start=1)}
    targets |= {"name": "web", "long-name": f"web.{NAMESPACE}.svc.cluster.local"}
    said = from_each(probes, targets, "wget -T 4 -q -O - http://$target/")
    for source, words in said.items():
        lost = {name: word[:60] for name, word in words.items() if word not in probes.ready}
        expect.nothing(f"without an answer on {source}, of {', '.join(targets)}", lost)


@check(
    "CLUSTER-029",
    "a headless Service's name has the addresses of all its pods",
    why="Databases and other programs that know their peers by name look them up there; a missing one is left out.",
    fix="labctl kubectl -- -n kube-system logs -l k8s-app=kube-dns; endpointslices of the Service",
    deep=True,
)
def test_headless_service(probes: Probes, expect: Expect) -> None:
    wanted = sorted(probes.addresses(node)[0] for node, is_ready in probes.ready.items() if is_ready)
    kind = "aaaa" if ":" in "".join(wanted) else "a"
    said = from_each(probes, {"peers": f"peers.{NAMESPACE}.svc.cluster.local."}, f"nslookup -type={kind} $target")
    for source, words in said.items():
        found = re.findall(r"Address: (\d+\.\d+\.\d+\.\d+|[0-9a-f]+:[0-9a-f:]+)(?!:| *:)(?=\s|$)", words["peers"])
        expect(f"seen on {source}", wanted, sorted(found))


def own_name_servers(cluster: Cluster) -> str:
    return str(cluster.sh("sed -n 's/^nameserver *//p' /etc/resolv.conf").stdout)


@check(
    "CLUSTER-030",
    "names outside the cluster are in pods what they are on the machine",
    why="CoreDNS hands on what is not of the cluster to the machine's name servers; if that fails, programs find "
    "nothing outside, and images with a name of their own come from nowhere.",
    fix="labctl kubectl -- -n kube-system get configmap coredns -o yaml: forward; /etc/resolv.conf of the machine "
    "where CoreDNS runs",
    deep=True,
)
def test_outside_names(cluster: Cluster, program: str, probes: Probes, expect: Expect) -> None:
    question = {"outside": {"dns": "", "name": OUTSIDE}}
    own = Look.at(cluster.nodes[cluster.first], program, question).answers["outside"]
    words = {200: "found", 3: "no such name"}  # 3 is NXDOMAIN: an answer too
    if own.status not in words:
        pytest.skip(f"{cluster.first} itself reaches no name server: {own}")
    if ":" in cluster.address(cluster.first) and ":" not in own_name_servers(cluster):
        pytest.skip("the machine's name servers have IPv4 addresses, which pods with IPv6 alone do not reach")
    said = from_each(probes, {OUTSIDE: OUTSIDE + "."}, "nslookup -type=a $target")
    for source, heard in said.items():
        text = heard[OUTSIDE]
        seen = (
            "no such name"
            if "NXDOMAIN" in text
            else "found"
            if f"Name: {OUTSIDE}" in text.replace("\t", " ")
            else text[-80:]
        )
        expect(f"{OUTSIDE} on {source}", words[own.status], seen)
