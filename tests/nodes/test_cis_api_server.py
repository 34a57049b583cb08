"""CIS Kubernetes Benchmark 1.12, section 1.2: the API server's arguments."""

from __future__ import annotations

from labctl.verify import Expect
from labctl.verify.cis import MANIFESTS, STRONG_CIPHERS, Item, Look, flag, given, items
from labctl.verify.programs import Programs

API = "kube-apiserver"
STRONG_PROVIDERS = {"aescbc", "kms", "secretbox"}
MAX_TIMEOUT_S = 300


def words_of(value: str | None) -> set[str]:
    return set((value or "").split(",")) - {""}


def absent(name: str) -> Look:
    return flag(API, name, "not set", lambda value: value is None)


def equals(name: str, wanted: str) -> Look:
    return flag(API, name, wanted, lambda value: value == wanted)


def has(name: str, word: str) -> Look:
    return flag(API, name, f"with {word}", lambda value: word in words_of(value))


def without(name: str, word: str) -> Look:
    return flag(API, name, f"without {word}", lambda value: word not in words_of(value))


def at_least(name: str, least: int) -> Look:
    return flag(API, name, f"{least} or more", lambda value: int(value or -1) >= least)


def seconds(value: str) -> int:
    """A duration in Go's words: 1m0s."""
    total, number = 0, ""
    for letter in value:
        if letter.isdigit():
            number += letter
        else:
            total += int(number or 0) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
    return total


def see_anonymous(programs: Programs, expect: Expect) -> None:
    flags = programs.flags(API)
    rules = programs.document(flags.get("authentication-config", "")).get("anonymous", {})
    paths = [condition["path"] for condition in rules.get("conditions", [])]
    seen = flags.get("anonymous-auth", f"for {', '.join(paths)}" if paths else "not set")
    expect.that("--anonymous-auth", "false", seen, seen == "false")


def see_providers(programs: Programs, expect: Expect) -> None:
    found = {resource: provider for resources, provider in programs.encryption for resource in resources}
    words = " or ".join(sorted(STRONG_PROVIDERS))
    expect.that("secrets are written with", words, found.get("secrets"), found.get("secrets") in STRONG_PROVIDERS)


ROWS = [
    Item(
        "1.2.1",
        "requests without a name are refused",
        "What is let through without a name, no audit log can blame on anybody.",
        Look(see_anonymous, f"set --anonymous-auth=false in {MANIFESTS}/kube-apiserver.yaml"),
    ),
    Item(
        "1.2.2",
        "no passwords are kept in a file",
        "Tokens of such a file never expire, lie there in the clear, and change only with a restart.",
        absent("token-auth-file"),
    ),
    Item(
        "1.2.3",
        "Services may not claim addresses of the outside",
        "Whoever may make a Service could take over traffic to any address (CVE-2020-8554).",
        has("enable-admission-plugins", "DenyServiceExternalIPs"),
    ),
    Item(
        "1.2.4",
        "the API server shows kubelets a certificate",
        "Without it kubelets cannot tell the API server from anybody else, and refuse logs and exec.",
        given(API, "kubelet-client-certificate", "kubelet-client-key"),
    ),
    Item(
        "1.2.5",
        "the API server asks kubelets for a certificate of the cluster",
        "Otherwise whoever stands between them reads and writes along with every exec, attach and log.",
        given(API, "kubelet-certificate-authority"),
    ),
    Item(
        "1.2.6",
        "not everything is allowed",
        "With AlwaysAllow every pod's token is an administrator's.",
        without("authorization-mode", "AlwaysAllow"),
    ),
    Item(
        "1.2.7",
        "a kubelet may read only what belongs to its own node's pods",
        "Without the authorizer Node, one lost node gives away the Secrets of all.",
        has("authorization-mode", "Node"),
    ),
    Item(
        "1.2.8",
        "who may do what is said by roles",
        "Roles and bindings have no effect without the authorizer RBAC.",
        has("authorization-mode", "RBAC"),
    ),
    Item(
        "1.2.9",
        "floods of events are limited",
        "A pod that fails in a tight loop can fill etcd with events, and the API server's time.",
        has("enable-admission-plugins", "EventRateLimit"),
    ),
    Item(
        "1.2.10",
        "admission is not switched off",
        "AlwaysAdmit lets in what the other plugins would refuse.",
        without("enable-admission-plugins", "AlwaysAdmit"),
    ),
    Item(
        "1.2.11",
        "an image is pulled anew for each pod",
        "Otherwise a pod runs a private image that another one's credentials brought to the node.",
        has("enable-admission-plugins", "AlwaysPullImages"),
    ),
    Item(
        "1.2.12",
        "pods get an account of their namespace",
        "Without it pods have no token, and controllers in pods cannot work.",
        without("disable-admission-plugins", "ServiceAccount"),
    ),
    Item(
        "1.2.13",
        "nothing is made in a namespace that is going",
        "Objects would be left behind in a namespace that does not exist.",
        without("disable-admission-plugins", "NamespaceLifecycle"),
    ),
    Item(
        "1.2.14",
        "a kubelet may change only its own Node and its own pods",
        "Otherwise one lost node can relabel the others and draw their pods to itself.",
        has("enable-admission-plugins", "NodeRestriction"),
    ),
    Item(
        "1.2.15",
        "the API server's profiler is off",
        "Profiles tell what the program has in memory, and taking one costs CPU.",
        equals("profiling", "false"),
    ),
    Item(
        "1.2.16",
        "requests are written down",
        "Without an audit log nobody can say afterwards who did it.",
        given(API, "audit-log-path"),
    ),
    Item(
        "1.2.17",
        "the audit log is kept for 30 days",
        "What happened is mostly noticed weeks later.",
        at_least("audit-log-maxage", 30),
    ),
    Item(
        "1.2.18",
        "ten rotated audit logs are kept",
        "With fewer, a burst of requests pushes out what it is to hide.",
        at_least("audit-log-maxbackup", 10),
    ),
    Item(
        "1.2.19",
        "an audit log is rotated at 100 MB, not before",
        "With smaller ones, a burst of requests pushes out what it is to hide.",
        at_least("audit-log-maxsize", 100),
    ),
    Item(
        "1.2.20",
        "a request ends after five minutes at the latest",
        "Slow requests could otherwise hold all of the API server's places.",
        flag(
            API,
            "request-timeout",
            f"not set (a minute), or up to {MAX_TIMEOUT_S} s",
            lambda value: value is None or 0 < seconds(value) <= MAX_TIMEOUT_S,
        ),
    ),
    Item(
        "1.2.21",
        "a deleted account's token is refused",
        "Without the lookup it goes on working until it expires.",
        without("service-account-lookup", "false"),
    ),
    Item(
        "1.2.22",
        "tokens of accounts are checked against a key of their own",
        "Otherwise the key of the API server's certificate serves two ends, and neither can be changed alone.",
        given(API, "service-account-key-file"),
    ),
    Item(
        "1.2.23",
        "the API server shows etcd a certificate",
        "etcd can refuse everybody else only then.",
        given(API, "etcd-certfile", "etcd-keyfile"),
    ),
    Item(
        "1.2.24",
        "the API server has a certificate of the cluster",
        "Otherwise it makes one itself that no client can check.",
        given(API, "tls-cert-file", "tls-private-key-file"),
    ),
    Item(
        "1.2.25",
        "clients may show certificates of the cluster",
        "Kubelets and the administrator are known by them.",
        given(API, "client-ca-file"),
    ),
    Item(
        "1.2.26",
        "the API server asks etcd for a certificate",
        "Otherwise whoever answers in etcd's place is believed.",
        given(API, "etcd-cafile"),
    ),
    Item(
        "1.2.27",
        "it is said what is encrypted in etcd",
        "Otherwise a copy of etcd's files is a copy of all Secrets.",
        given(API, "encryption-provider-config"),
    ),
    Item(
        "1.2.28",
        "Secrets are encrypted in etcd, with a strong cipher",
        "Otherwise a copy of etcd's files is a copy of all Secrets.",
        Look(
            see_providers, "put secretbox first in the file of --encryption-provider-config, then replace all Secrets"
        ),
    ),
    Item(
        "1.2.29",
        "the API server speaks strong ciphers only",
        "Weak ones can be read along.",
        flag(
            API,
            "tls-cipher-suites",
            "ECDHE with AES-GCM or ChaCha20 only",
            lambda value: bool(words_of(value)) and words_of(value) <= STRONG_CIPHERS,
        ),
    ),
    Item(
        "1.2.30",
        "tokens of pods last as long as they say",
        "Otherwise a token of an hour is good for a year.",
        equals("service-account-extend-token-expiration", "false"),
    ),
]


@items(ROWS, on="control-plane")
def test_api_server(programs: Programs, item: Item, expect: Expect) -> None:
    item.look.see(programs, expect)
