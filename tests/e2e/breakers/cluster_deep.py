"""Against the deep checks of tests/cluster. The control plane takes no pods but the probe: it is where least depends on
who was placed where."""

from __future__ import annotations

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks
from tests.e2e.breakers.policies import alters, makes, refuses, tried

CTR = "ctr --namespace k8s.io images"
CP_PODS, WORKERS_PODS, ALL_PODS = "10.244.0.0/24", "10.244.1.0/24", "10.244.0.0/16"
NAMED = "has(object.metadata.name) && "
"""Pods of a Job or a Deployment have no name yet."""
RESTART_DNS = (
    f"{KUBECTL} -n kube-system rollout restart deployment coredns && "
    f"{KUBECTL} -n kube-system rollout status deployment coredns --timeout=90s"
)


def filters(*checks: str, hook: str, rule: str, on: str = "cp-1") -> Breaker:
    """A rule in a table of its own on a node."""
    priority = "raw" if hook == "prerouting" else "filter"
    chain = f"chain harm {{ type filter hook {hook} priority {priority}; {rule}; }};"
    table = f"breaker_{min(checks).lower().replace('-', '_')}"
    return Breaker(breaks(*checks), on, f"nft 'table ip {table} {{ {chain} }}'", f"nft delete table ip {table}")


def forwards_to(server: str, instead_of: str) -> str:
    """CoreDNS asks another server."""
    change = f"sed 's#forward . {instead_of} #forward . {server} #'"
    corefile = f"{KUBECTL} -n kube-system get configmap coredns -o yaml | {change}"
    return f"{corefile} | {KUBECTL} replace -f - && {RESTART_DNS}"


BREAKERS = [
    Breaker(
        breaks("CLUSTER-022", "NODE-012"),
        on="cp-1",
        harm=f"{CTR} tag localhost/busybox:1 localhost/kept:1 && {CTR} rm localhost/busybox:1",
        mend=f"{CTR} tag localhost/kept:1 localhost/busybox:1 && {CTR} rm localhost/kept:1",
    ),
    filters(
        *("CLUSTER-023", "CLUSTER-024", "CLUSTER-028"),
        hook="forward",
        rule=f"ip saddr {CP_PODS} tcp dport 8080 reject with tcp reset",
    ),
    filters("CLUSTER-024", hook="forward", rule=f"ip saddr {CP_PODS} tcp sport 8080 meta length > 1000 drop"),
    filters("CLUSTER-025", hook="input", rule=f"ip saddr {ALL_PODS} tcp dport 10250 reject with tcp reset"),
    filters("CLUSTER-026", hook="output", rule=f"ip daddr {WORKERS_PODS} tcp dport 8080 reject with tcp reset"),
    filters("CLUSTER-027", hook="prerouting", rule="tcp dport 18080 drop", on="worker-1"),
    alters(
        "CLUSTER-029",
        makes("services"),
        "object.metadata.name == 'peers'",
        'op: "add", path: "/spec/selector", value: {"app": "breaker"}',
        tried("create service clusterip peers --clusterip=None --tcp=80"),
    ),
    Breaker(
        breaks("CLUSTER-030"),
        on="cp-1",
        harm=forwards_to("192.0.2.1", "/etc/resolv.conf"),
        mend=forwards_to("/etc/resolv.conf", "192.0.2.1"),
    ),
    alters(
        "CLUSTER-031",
        makes("pods"),
        NAMED + "object.metadata.name.startsWith('probe-')",
        'op: "replace", path: "/spec/volumes/1/hostPath/path", value: "/etc/hostname"',
        tried("run probe-x --image=none"),
    ),
    alters(
        "CLUSTER-032",
        makes("configmaps"),
        "object.metadata.name == 'letter'",
        'op: "replace", path: "/data/greeting", value: "breaker"',
        tried("create configmap letter --from-literal=greeting=hello"),
    ),
    # Pods ask for the kubelet there, too.
    filters(
        *("CLUSTER-025", "CLUSTER-033", "CLUSTER-034", "CLUSTER-035", "CLUSTER-036"),
        hook="input",
        rule="iif != lo tcp dport 10250 reject with tcp reset",
        on="worker-1",
    ),
    Breaker(
        breaks("CLUSTER-037"),
        on="cp-1",
        harm=f"{KUBECTL} create clusterrolebinding breaker --clusterrole=view --serviceaccount=labctl-verify:reader",
        mend=f"{KUBECTL} delete clusterrolebinding breaker",
    ),
    alters(
        "CLUSTER-038",
        makes("pods"),
        NAMED + "object.metadata.name == 'nowhere'",
        'op: "remove", path: "/spec/nodeSelector"',
        tried("run nowhere --image=none"),
    ),
    refuses(
        "CLUSTER-039",
        makes("pods"),
        "has(object.metadata.generateName) && object.metadata.generateName.startsWith('count-') "
        f"|| {NAMED} object.metadata.name == 'felt'",
        tried("run felt --image=none"),
    ),
    refuses(
        "CLUSTER-040",
        makes("pods"),
        "has(object.metadata.generateName) && object.metadata.generateName.startsWith('roll-') "
        f"&& has(object.spec.containers[0].env) || {NAMED} object.metadata.name == 'felt'",
        tried("run felt --image=none"),
    ),
    refuses(
        "CLUSTER-041",
        makes("pods", "DELETE"),
        "request.operation == 'DELETE' && request.userInfo.username == 'kubernetes-admin' && request.name == 'leaver' "
        f"|| request.operation == 'CREATE' && {NAMED} object.metadata.name == 'felt'",
        tried("run felt --image=none"),
    ),
]
