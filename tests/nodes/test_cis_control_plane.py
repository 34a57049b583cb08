"""CIS Kubernetes Benchmark 1.12, sections 1.3 controller manager, 1.4 scheduler, 2 etcd, 3.2 audit policy."""

from __future__ import annotations

from labctl.verify import Expect
from labctl.verify.cis import Item, Look, flag, given, items
from labctl.verify.programs import Programs

MANAGER, SCHEDULER, ETCD = "kube-controller-manager", "kube-scheduler", "etcd"
PROFILER = "Profiles tell what the program has in memory, and taking one costs CPU."
LOCAL = "Its metrics are then open to every machine of the network."
MAX_TERMINATED = 12500
"""The default."""
RANK = {"None": 0, "Metadata": 1, "Request": 2, "RequestResponse": 3}
POD_DOORS = {"pods/exec", "pods/portforward", "pods/proxy", "services/proxy"}


def equals(program: str, name: str, wanted: str) -> Look:
    return flag(program, name, wanted, lambda value: value == wanted)


def is_not(program: str, name: str, refused: str) -> Look:
    return flag(program, name, f"not {refused}", lambda value: refused not in (value or ""))


def local(program: str) -> Look:
    return flag(program, "bind-address", "127.0.0.1", lambda value: value == "127.0.0.1")


def see_authorities(programs: Programs, expect: Expect) -> None:
    etcd = programs.flags(ETCD).get("trusted-ca-file", "")
    clients = programs.flags("kube-apiserver").get("client-ca-file", "")
    expect.that("etcd's authority", f"a file other than {clients}", etcd, etcd not in ("", clients))


def level_of(programs: Programs, group: str, resource: str, verb: str) -> str:
    """What the audit policy writes of such a request of any user: the level of the first rule that fits."""
    for rule in programs.audit_policy.get("rules", []):
        if {"users", "userGroups", "namespaces", "nonResourceURLs"} & set(rule) or verb not in rule.get(
            "verbs", [verb]
        ):
            continue
        groups = rule.get("resources", [{"group": group}])
        fits = any(
            entry.get("group", "") == group and resource in entry.get("resources", [resource]) for entry in groups
        )
        if fits:
            return str(rule["level"])
    return "None"


def see_policy(programs: Programs, expect: Expect) -> None:
    for resource in ("secrets", "configmaps"):
        expect(f"reading {resource}", "Metadata", level_of(programs, "", resource, "get"))
    expect("token reviews", "Metadata", level_of(programs, "authentication.k8s.io", "tokenreviews", "create"))
    wanted = [("", "pods", "patch"), ("apps", "deployments", "patch"), *(("", door, "create") for door in POD_DOORS)]
    silent = sorted(what for group, what, verb in wanted if not RANK[level_of(programs, group, what, verb)])
    expect.nothing("not written down", silent)


ROWS = [
    Item(
        "1.3.1",
        "pods that ended are removed at some number",
        "The default is 12500: until then they take room in etcd and in every list.",
        flag(MANAGER, "terminated-pod-gc-threshold", "set", lambda value: 0 < int(value or 0) < MAX_TERMINATED),
    ),
    Item("1.3.2", "the controller manager's profiler is off", PROFILER, equals(MANAGER, "profiling", "false")),
    Item(
        "1.3.3",
        "each controller has an account of its own",
        "Otherwise each of them may do what all of them may.",
        equals(MANAGER, "use-service-account-credentials", "true"),
    ),
    Item(
        "1.3.4",
        "tokens of accounts are signed with a key of their own",
        "Otherwise no pod gets a token that is believed.",
        given(MANAGER, "service-account-private-key-file"),
    ),
    Item(
        "1.3.5",
        "pods learn how to know the API server",
        "Otherwise pods must trust whoever answers at its address.",
        given(MANAGER, "root-ca-file"),
    ),
    Item(
        "1.3.6",
        "kubelets may renew their serving certificates",
        "Otherwise they expire, and logs and exec with them.",
        is_not(MANAGER, "feature-gates", "RotateKubeletServerCertificate=false"),
    ),
    Item("1.3.7", "the controller manager listens on this machine only", LOCAL, local(MANAGER)),
    Item("1.4.1", "the scheduler's profiler is off", PROFILER, equals(SCHEDULER, "profiling", "false")),
    Item("1.4.2", "the scheduler listens on this machine only", LOCAL, local(SCHEDULER)),
    Item(
        "2.1",
        "etcd speaks TLS with its clients",
        "Otherwise Secrets travel in the clear.",
        given(ETCD, "cert-file", "key-file"),
    ),
    Item(
        "2.2",
        "etcd asks its clients for certificates",
        "Otherwise whoever reaches its port owns the cluster.",
        equals(ETCD, "client-cert-auth", "true"),
    ),
    Item(
        "2.3",
        "etcd makes no certificates up for clients",
        "Nobody can check one that it signed itself.",
        is_not(ETCD, "auto-tls", "true"),
    ),
    Item(
        "2.4",
        "etcd speaks TLS with its peers",
        "Otherwise Secrets travel in the clear between control planes.",
        given(ETCD, "peer-cert-file", "peer-key-file"),
    ),
    Item(
        "2.5",
        "etcd asks its peers for certificates",
        "Otherwise whoever reaches its port joins as a member, and gets all data.",
        equals(ETCD, "peer-client-cert-auth", "true"),
    ),
    Item(
        "2.6",
        "etcd makes no certificates up for peers",
        "Nobody can check one that it signed itself.",
        is_not(ETCD, "peer-auto-tls", "true"),
    ),
    Item(
        "2.7",
        "etcd has an authority of its own",
        "Otherwise every certificate of the cluster, a kubelet's too, opens etcd past all roles.",
        Look(
            see_authorities,
            "set --trusted-ca-file in /etc/kubernetes/manifests/etcd.yaml to an authority of etcd's own",
        ),
    ),
    Item(
        "3.2.1",
        "there is an audit policy",
        "Without one nothing is written down, wherever the log is.",
        given("kube-apiserver", "audit-policy-file"),
    ),
    Item(
        "3.2.2",
        "the audit policy notes what matters, and no secrets",
        "It must tell who read Secrets, changed pods or entered them; bodies of Secrets in a log are Secrets lost.",
        Look(see_policy, "mend the file of --audit-policy-file; the API server reads it when it starts"),
    ),
]


@items(ROWS, on="control-plane")
def test_control_plane(programs: Programs, item: Item, expect: Expect) -> None:
    item.look.see(programs, expect)
