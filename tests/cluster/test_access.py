"""Who is let in, and with what."""

from __future__ import annotations

import base64
import json
import ssl
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPSConnection
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

import pytest
import yaml

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster, Look

HARMLESS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "clustertrustbundles"}
"""What Kubernetes grants to all: who am I, what may I do, and (since 1.35) public certificates of authorities."""


DAY_S = 24 * 3600
PUBLIC = {
    *("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"),
    *("/healthz", "/livez", "/readyz", "/.well-known/openid-configuration", "/.well-known/openid-configuration/"),
    *("/openid/v1/jwks", "/openid/v1/jwks/"),
}
"""What it lets all see who say who they are: system:discovery, system:public-info-viewer and
system:service-account-issuer-discovery (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles)."""


@check(
    "CLUSTER-011",
    "API servers refuse who does not say who he is",
    why="Kubernetes grants /livez, /readyz, /healthz and /version to all (system:public-info-viewer); anything more, "
    "and whoever reaches port 6443 looks around, or works, in the cluster.",
    fix="labctl kubectl -- get clusterrolebindings,rolebindings -A -o wide: which names system:anonymous or "
    "system:unauthenticated beside system:public-info-viewer and kubeadm:bootstrap-signer-clusterinfo?",
)
def test_anonymous_requests(control_planes: list[str], looks: dict[str, Look], expect: Expect) -> None:
    answered = {
        f"{question} on {name}": answer
        for name in control_planes
        for question, answer in looks[name].answers.items()
        if question.startswith("anonymous /") and not answer.is_silence
    }
    if not answered:
        pytest.skip("no API server answers: see CLUSTER-007")
    for what, answer in answered.items():
        expect.within(what, "401 or 403", answer.status, lambda seen: seen in (401, 403))


@check(
    "CLUSTER-012",
    "kubelets refuse who does not say who he is, and have no read-only port",
    why="A kubelet's API lists pods with their environment and runs commands in them: root on the node for whoever "
    "gets in.",
    fix="authentication.anonymous.enabled: false and readOnlyPort: 0 in /var/lib/kubelet/config.yaml; systemctl "
    "restart kubelet",
)
def test_kubelets(looks: dict[str, Look], expect: Expect) -> None:
    for name, look in looks.items():
        # Whether a kubelet that is silent is well is for others to say: NODE-002, CLUSTER-004.
        for port, question in ((10250, "kubelet"), (10255, "kubelet, read only")):
            answer = look.answers[question]
            is_shut = answer.is_silence or (question == "kubelet" and answer.status == HTTPStatus.UNAUTHORIZED)
            expected = "401, or no answer" if question == "kubelet" else "no answer"
            expect.that(f"port {port} of {name}", expected, str(answer)[:60], is_shut)


@check(
    "CLUSTER-013",
    "the default service accounts of default and kube-system may do nothing of note",
    why="Its token is in every pod that asks for no other: whatever it may do, any program there may do.",
    fix="labctl kubectl -- auth can-i --list --as=system:serviceaccount:NAMESPACE:default; then delete the binding "
    "that grants it",
)
def test_default_service_accounts(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    for namespace in ("default", "kube-system"):
        answer = looks[cluster.first].answers[f"service account of {namespace}"]
        if answer.is_silence:
            pytest.skip("the API server does not answer: see CLUSTER-007")
        granted = [
            f"{'/'.join(rule['verbs'])} {'/'.join(rule.get('resources', []))}"
            for rule in answer.json()["status"]["resourceRules"]
            if not set(rule.get("resources", [])) <= HARMLESS
        ] + [
            f"{'/'.join(rule['verbs'])} {' '.join(rule['nonResourceURLs'])}"
            for rule in answer.json()["status"]["nonResourceRules"]
            if rule["verbs"] != ["get"] or not set(rule["nonResourceURLs"]) <= PUBLIC
        ]
        expect.nothing(f"granted to {namespace}'s beyond what all are", granted)


@check(
    "CLUSTER-044",
    "no token lets machines join for more than a day",
    why="Whoever has such a token adds a node to the cluster, and is given what nodes may read. kubeadm's own ends "
    "after a day, labctl's after half an hour.",
    fix="on a control plane: kubeadm token list, and kubeadm token delete TOKEN",
)
def test_tokens(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    answer = looks[cluster.first].answers["tokens"]
    if answer.is_silence:
        pytest.skip("the API server does not answer: see CLUSTER-007")
    latest = looks[cluster.first].now + DAY_S
    tokens = json.loads(answer.body)
    lasting = [
        f"{token.get('token-id')} ({token.get('expiration', 'without an end')})"
        for token in tokens
        if "expiration" not in token or datetime.fromisoformat(token["expiration"]).timestamp() > latest
    ]
    expect.nothing(f"that last longer, of {len(tokens)}", lasting)


@check(
    "CLUSTER-014",
    "kubeconfigs of all machines name a control plane, and trust the cluster's authority",
    why="With the address or the authority of another cluster, or of one before, a component is silently cut off; a "
    "foreign authority would even be obeyed.",
    fix="kubeadm init phase kubeconfig all writes a control plane's again; for a worker's, make it join again",
)
def test_kubeconfigs(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    servers = {f"https://{cluster.host(name)}:6443" for name in cluster.control_planes}
    truth = looks[cluster.first].kubeconfigs["/etc/kubernetes/admin.conf"]["ca"]
    for name, look in looks.items():
        wrong = [
            f"{file}: {seen['server']}, authority {seen['ca']}"
            for file, seen in look.kubeconfigs.items()
            if seen["server"] not in servers or seen["ca"] != truth
        ]
        expect.nothing(f"that do otherwise, of {len(look.kubeconfigs)} on {name}", wrong)
        expect.within(f"kubelet.conf on {name}", "there", "/etc/kubernetes/kubelet.conf" in look.kubeconfigs, bool)


@check(
    "CLUSTER-015",
    "the administrator's kubeconfig works from here, and is of this cluster",
    why="It is what kubectl and labctl use; one of a cluster that was made anew is refused, or reaches another one.",
    fix="labctl up writes it again; by hand: copy /etc/kubernetes/admin.conf of the first control plane",
)
def test_own_kubeconfig(cluster: Cluster, looks: dict[str, Look], expect: Expect) -> None:
    path = Path(cluster.variable("lab_kubeconfig"))
    if not path.is_file():
        pytest.skip("lab_kubeconfig names no file on this machine")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        entry, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(entry["certificate-authority-data"])
        pair_text = b"\n".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key"))
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
        expect(str(path), "a kubeconfig", f"cannot be read: {type(error).__name__}")
        return
    truth = looks[cluster.first].kubeconfigs["/etc/kubernetes/admin.conf"]["server"]
    expect("server", truth, entry["server"])
    context = ssl.create_default_context(cadata=authority.decode())
    # Python loads a pair from a file alone; this one is its owner's, and gone at once.
    with NamedTemporaryFile() as pair:
        pair.write(pair_text)
        pair.flush()
        context.load_cert_chain(pair.name)
    expect("who may read nodes with it, gets", 200, _status(entry["server"], context))


def _status(server: str, context: ssl.SSLContext) -> int | str:
    url = urlsplit(server)
    assert url.hostname
    connection = HTTPSConnection(url.hostname, url.port, timeout=5, context=context)
    try:
        connection.request("GET", "/api/v1/nodes?limit=1")
        return connection.getresponse().status
    except OSError as error:
        return str(error)
    finally:
        connection.close()
