"""Certificates and secrets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from labctl.verify import Expect, check
from labctl.verify.certificates import COLLECT, Certificate, collected
from labctl.verify.node import Node

ASKED_EARLY = (COLLECT,)
LEAST_DAYS = 30
PKI, KUBERNETES = "/etc/kubernetes/pki", "/etc/kubernetes"
KUBELET = "/var/lib/kubelet/pki/kubelet-client-current.pem"
# Who a certificate says that its owner is: common name and organisation.
IDENTITIES = {
    f"{PKI}/front-proxy-client.crt": "front-proxy-client",
    f"{KUBERNETES}/admin.conf": "kubernetes-admin, kubeadm:cluster-admins",
    f"{KUBERNETES}/controller-manager.conf": "system:kube-controller-manager",
    f"{KUBERNETES}/scheduler.conf": "system:kube-scheduler",
}
# "of sa.key" if $2 is the public part of $1.
_FITS = (
    "of=$(openssl pkey -in %s -pubout 2>/dev/null); is=$(openssl pkey -pubin -in %s -pubout 2>/dev/null); "
    '[ -n "$of" ] && [ "$of" = "$is" ] && echo of sa.key || echo of another key'
)
# Copies that somebody made of a key.
_COPIES = (
    "find /etc/kubernetes /root/.kube/config -type f -perm /077 "
    "-exec grep -lsE '^-----BEGIN .*PRIVATE KEY|client-key-data: .' {} + 2>/dev/null"
)
SECRETS = (
    "/etc/kubernetes/*.conf /etc/kubernetes/pki/*.key /etc/kubernetes/pki/etcd/*.key /var/lib/kubelet/pki/*.pem "
    "/var/lib/kubelet/pki/*.key /etc/labctl/kubeadm.yml /etc/kubernetes/encryption.yml "
    "/etc/labctl/proxy*.env /etc/ssh/ssh_host_*_key "
    "/var/lib/labctl/* /run/containerd/containerd.sock"
)


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Certificate]]:
    return {}


@pytest.fixture
def certificates(node: Node, seen: dict[str, dict[str, Certificate]]) -> dict[str, Certificate]:
    if node.name not in seen:
        seen[node.name] = collected(node.output(COLLECT))
    return seen[node.name]


@check(
    "NODE-035",
    "no certificate of the node ends within a month",
    why="When one ends, what it is for stops at once: the API server, etcd, or the kubelet's connection.",
    fix="kubeadm certs renew all, then restart the static pods; the kubelet renews its own (rotateCertificates)",
)
def test_days_left(certificates: dict[str, Certificate], expect: Expect) -> None:
    days = {path: (one.x509.not_valid_after_utc - datetime.now(UTC)).days for path, one in certificates.items()}
    soonest = min(days, key=lambda path: days[path])
    expect.within(f"days left of {soonest}", f"{LEAST_DAYS} at least", days[soonest], lambda left: left >= LEAST_DAYS)
    expect.nothing("not valid yet", [path for path, one in certificates.items() if one.starts_later])


@check(
    "NODE-036",
    "every certificate is signed by the authority that it should be, and its key fits",
    why="A certificate of another authority, or with another's key, is refused, sometimes only at the next restart.",
    fix="kubeadm certs renew NAME; kubeadm init phase kubeconfig NAME",
)
def test_chain(node: Node, certificates: dict[str, Certificate], expect: Expect) -> None:
    strangers, misfits = [], []
    for path, one in certificates.items():
        # The kubelet makes its serving certificate itself, and an authority's key may be kept elsewhere.
        authority = certificates.get(authority_of(path))
        if authority and not one.is_signed_by(authority):
            strangers.append(path)
        if one.public_key and not one.fits:
            misfits.append(path)
    expect.within("certificates", "the kubelet's at least", len(certificates), lambda count: count > 1)
    expect.nothing("not signed by their authority", strangers)
    expect.nothing("whose key does not fit", misfits)
    if node.is_control_plane:
        said = node.run(_FITS, f"{PKI}/sa.key", f"{PKI}/sa.pub")
        expect("sa.pub, by which tokens of service accounts are known", "of sa.key", said.stdout.strip())


def authority_of(path: str) -> str:
    if path == "/var/lib/kubelet/pki/kubelet.crt":
        return ""
    if path.startswith(f"{PKI}/etcd/") or path.endswith("/apiserver-etcd-client.crt"):
        return f"{PKI}/etcd/ca.crt"
    return f"{PKI}/front-proxy-ca.crt" if "/front-proxy-" in path else f"{PKI}/ca.crt"


@check(
    "NODE-037",
    "the API server's and etcd's certificates have all their names",
    why="Who reaches them by a name or address that is not in there is told of a man in the middle, and stops.",
    fix="kubeadm certs renew apiserver, or etcd-server and etcd-peer; a new name needs kubeadm init phase certs",
    on="control-plane",
)
def test_names(node: Node, certificates: dict[str, Certificate], expect: Expect) -> None:
    service = str(node.service_network[1])
    cluster = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    wanted = {
        f"{PKI}/apiserver.crt": {node.name, *node.addresses, service, *cluster},
        f"{PKI}/etcd/server.crt": {node.name, node.address, "localhost", "127.0.0.1"},
        f"{PKI}/etcd/peer.crt": {node.name, node.address, "localhost", "127.0.0.1"},
    }
    for path, names in wanted.items():
        expect.nothing(f"missing in {path}", sorted(names - set(certificates[path].names)))


@check(
    "NODE-038",
    "certificates of clients say who the client is",
    why="RBAC goes by these names: with another one a part of the cluster is refused, or allowed too much.",
    fix="kubeadm init phase kubeconfig NAME; the kubelet's: kubeadm reset and join",
)
def test_identities(node: Node, certificates: dict[str, Certificate], expect: Expect) -> None:
    wanted = {KUBELET: f"system:node:{node.name}, system:nodes"}
    if node.is_control_plane:
        wanted |= IDENTITIES
    for path, identity in wanted.items():
        # The administrator's is only on the first control plane under that name.
        if path in certificates or path == KUBELET:
            expect(path.rpartition("/")[2], identity, certificates[path].owner)


@check(
    "NODE-039",
    "root alone reads the node's secrets",
    why="With a key of these anyone on the machine is the node, or the cluster's administrator.",
    fix="chown root:root FILE; chmod 600 FILE (containerd.sock: 660)",
)
def test_secrets(node: Node, expect: Expect) -> None:
    rows = [line.split(maxsplit=3) for line in node.run(f"stat -L -c '%a %U %G %n' {SECRETS}").stdout.splitlines()]
    bad = [
        f"{path} {mode} {user}:{group}"
        for mode, user, group, path in rows
        if user != "root"
        or int(mode, 8) & 0o007
        or (group != "root" and int(mode, 8) & 0o070)
        or (int(mode, 8) & 0o077 and not path.endswith(".sock"))
    ]
    expect.within("files", "the kubelet's at least", len(rows), lambda count: count > 1)
    known = {path for *_, path in rows}
    bad += sorted(set(node.run(_COPIES).stdout.splitlines()) - known)
    expect.nothing("readable by others", bad)


@check(
    "NODE-040",
    "nothing that lets machines join was left behind",
    why="A token lets whoever has it add a node to the cluster, and with the certificates' key a control plane.",
    fix="rm -rf /run/labctl-kubeadm /etc/kubernetes/bootstrap-kubelet.conf; on the control plane kubeadm token list, "
    "and kubeadm token delete TOKEN",
)
def test_no_invitation(node: Node, expect: Expect) -> None:
    found = node.output("find /run/labctl-kubeadm /etc/kubernetes/bootstrap-kubelet.conf -type f 2>/dev/null || true")
    expect.nothing("left behind", found.split())
