"""Against the quick checks of tests/cluster."""

from __future__ import annotations

from dataclasses import replace

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks
from tests.e2e.breakers.policies import alters, makes

IN_SYSTEM = f"{KUBECTL} -n kube-system"
BOOTED = "$(systemctl show --property=UserspaceTimestamp --timestamp=unix | cut -d @ -f 2)"
SETTLED = f"until test $(date +%s) -gt $(({BOOTED} + 61)); do sleep 1; done"
"""Warnings of a machine's first minute do not count."""
NOT_READY = f"{KUBECTL} get nodes | grep -q NotReady"
ALL_READY = f"! {NOT_READY} && {KUBECTL} wait --for=condition=Ready pods --all -A --timeout=5s"
EVENT = """
apiVersion: v1
kind: Event
metadata: {name: breaker, namespace: kube-system}
involvedObject: {apiVersion: apps/v1, kind: DaemonSet, namespace: kube-system, name: kube-proxy}
type: Warning
reason: FailedMount
message: broken on purpose
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: breaker}
spec:
  selector: {matchLabels: {app: breaker}}
  template:
    metadata: {labels: {app: breaker}}
    spec: {nodeSelector: {breaker: nowhere}, containers: [{name: main, image: "localhost/busybox:1"}]}
"""
ONCE = """
apiVersion: v1
kind: Pod
metadata: {name: breaker, namespace: kube-system}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: kept, emptyDir: {}}]
  containers:
    - name: main
      image: localhost/busybox:1
      command: [sh, -c, "test -e /kept/mark || { touch /kept/mark; exit 3; }; sleep 100000"]
      volumeMounts: [{name: kept, mountPath: /kept}]
"""
NOBODYS_API = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.breaker.example}
spec:
  group: breaker.example
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 1
  service: {namespace: default, name: nobody}
"""
STAYS = """
apiVersion: v1
kind: Namespace
metadata: {name: breaker}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: breaker, finalizers: [breaker.example/kept]}
"""
INVITATION = """
apiVersion: v1
kind: Secret
type: bootstrap.kubernetes.io/token
metadata: {name: bootstrap-token-breake, namespace: kube-system}
stringData: {token-id: breake, token-secret: "0123456789abcdef"}
"""
GHOST = """
apiVersion: v1
kind: Node
metadata: {name: breaker}
spec: {unschedulable: true}
"""


def members(code: str) -> str:
    """Python that changes etcd's members with `post`, through etcd's JSON gateway."""
    return f"""python3 - <<'END'
import json, ssl, urllib.request
pki = "/etc/kubernetes/pki/etcd/"
tls = ssl.create_default_context(cafile=pki + "ca.crt")
tls.load_cert_chain(pki + "healthcheck-client.crt", pki + "healthcheck-client.key")

def post(path, body):
    request = urllib.request.Request("https://127.0.0.1:2379/v3/cluster/member/" + path, json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request, context=tls))

{code}
END"""


PAGE = (
    "python3 -c \"import urllib.request; urllib.request.urlopen('http://' + '$(hostname -I)'.split()[0] + ':30080/')\""
)


def retarget(port: int) -> str:
    """The Service of hello-world leads to another port of its pods."""
    patch = f'[{{"op": "replace", "path": "/spec/ports/0/targetPort", "value": {port}}}]'
    return f"{KUBECTL} patch service hello --type=json --patch='{patch}'"


def waits(replicas: int) -> str:
    """CoreDNS has as many servers, and no more."""
    path = "{.items[0].endpoints[*].addresses[0]}"
    servers = f"{IN_SYSTEM} get endpointslices -l kubernetes.io/service-name=kube-dns -o jsonpath='{path}'"
    return f"test $({servers} | wc -w) = {replicas} && {IN_SYSTEM} rollout status deployment coredns --timeout=5s"


def with_pod(breaker: Breaker) -> Breaker:
    """Until it is mended, a pod runs that nobody uses, made after the harm."""
    start = f"{IN_SYSTEM} run breaker --image=localhost/busybox:1 --command -- sleep 100000"
    end = f"{IN_SYSTEM} delete pod breaker --grace-period=1 --ignore-not-found"
    return replace(breaker, harm=f"{breaker.harm}\n{start}", mend=f"{end} && {breaker.mend}")


STRAY = "192.0.2.1"
NODE = "$(hostname)"
BREAKERS = [
    Breaker(
        breaks("CLUSTER-001", "CLUSTER-003", "CLUSTER-004", "CLUSTER-016", "NODE-001", "NODE-003"),
        on="worker-1",
        harm="systemctl stop kubelet",
        mend="systemctl start kubelet",
        felt=NOT_READY,
        well=ALL_READY,
    ),
    alters(
        "CLUSTER-002",
        makes("nodes/status", "UPDATE"),
        "object.metadata.name.endsWith('worker-1') && object.status.addresses.all(entry, entry.address != '192.0.2.1')",
        'op: "add", path: "/status/addresses/-", value: {"type": "InternalIP", "address": "192.0.2.1"}',
        f"{KUBECTL} get nodes -o yaml | grep -q 192.0.2.1",
    ),
    Breaker(
        breaks("CLUSTER-003"),
        on="cp-1",
        harm=f"{KUBECTL} cordon {NODE}",
        mend=f"{KUBECTL} uncordon {NODE}",
    ),
    alters(
        "CLUSTER-005",
        makes("nodes/status", "UPDATE"),
        "object.metadata.name.endsWith('worker-1')",
        'op: "replace", path: "/status/nodeInfo/kubeletVersion", value: "v1.30.0"',
        f"{KUBECTL} get nodes | grep -q v1.30.0",
    ),
    with_pod(
        alters(
            "CLUSTER-006",
            makes("pods/status", "UPDATE"),
            f"object.metadata.name == 'breaker' && has(object.status.podIP) && object.status.podIP != '{STRAY}'",
            f'op: "replace", path: "/status/podIP", value: "{STRAY}"}}, '
            f'JSONPatch{{op: "replace", path: "/status/podIPs/0/ip", value: "{STRAY}"',
            f"{IN_SYSTEM} get pod breaker -o wide | grep -q {STRAY}",
        )
    ),
    # Only new connections: the kubelet's own goes on, or the node would be called dead.
    Breaker(
        breaks("CLUSTER-007"),
        on="worker-1",
        harm="nft 'table ip breaker_007 { chain harm { type filter hook output priority filter; "
        "tcp dport 6443 ct state new reject with tcp reset; }; }'",
        mend="nft delete table ip breaker_007",
    ),
    Breaker(
        breaks("CLUSTER-008"),
        on="cp-1",
        harm=members("""post("add", {"peerURLs": ["https://192.0.2.1:2380"], "isLearner": True})"""),
        mend=members(
            """for member in post("list", {})["members"]:
    if member.get("isLearner"):
        post("remove", {"ID": member["ID"]})"""
        ),
    ),
    # An open door before etcd, as a careless proxy makes one.
    Breaker(
        breaks("CLUSTER-009"),
        on="cp-1",
        harm="cd /etc/kubernetes/pki/etcd && systemd-run --collect --unit=breaker socat "
        "OPENSSL-LISTEN:2378,bind=127.0.0.1,fork,reuseaddr,verify=0,cert=$PWD/server.crt,key=$PWD/server.key "
        "OPENSSL:127.0.0.1:2379,verify=0,cert=$PWD/healthcheck-client.crt,key=$PWD/healthcheck-client.key && "
        "nft 'table ip breaker_009 { chain harm { type nat hook output priority dstnat; "
        "tcp dport 2379 ip daddr != 127.0.0.1 redirect to :2378; }; }'",
        mend="nft delete table ip breaker_009; systemctl stop breaker",
    ),
    alters(
        "CLUSTER-010",
        makes("leases", "UPDATE", group="coordination.k8s.io"),
        "object.metadata.name == 'kube-scheduler'",
        'op: "replace", path: "/spec/renewTime", value: "2020-01-01T00:00:00.000000Z"',
        f"{IN_SYSTEM} get lease kube-scheduler -o yaml | grep -q 2020-01-01",
    ),
    # The same before the API server: whoever comes that way is administrator.
    Breaker(
        breaks("CLUSTER-011"),
        on="cp-1",
        harm="umask 077; for part in certificate key; do "
        'sed -n "s/.*client-$part-data: //p" /etc/kubernetes/admin.conf | base64 -d; done > /run/breaker.pem && '
        "cd /etc/kubernetes/pki && systemd-run --collect --unit=breaker-011 socat "
        "OPENSSL-LISTEN:6442,bind=127.0.0.1,fork,reuseaddr,verify=0,cert=$PWD/apiserver.crt,key=$PWD/apiserver.key "
        "OPENSSL:127.0.0.1:6443,verify=0,cert=/run/breaker.pem,key=/run/breaker.pem && "
        "nft 'table ip breaker_011 { chain harm { type nat hook output priority dstnat; "
        "tcp dport 6443 ip daddr != 127.0.0.1 redirect to :6442; }; }'",
        mend="nft delete table ip breaker_011; systemctl stop breaker-011; rm /run/breaker.pem",
    ),
    # The kubelet's health takes the place of its read-only API.
    Breaker(
        breaks("CLUSTER-012"),
        on="worker-1",
        harm="nft 'table ip breaker_012 { chain harm { type nat hook output priority dstnat; "
        "tcp dport 10255 redirect to :10248; }; }'",
        mend="nft delete table ip breaker_012",
    ),
    Breaker(
        breaks("CLUSTER-013"),
        on="cp-1",
        harm=f"{KUBECTL} create clusterrolebinding breaker-013 --clusterrole=view --serviceaccount=default:default",
        mend=f"{KUBECTL} delete clusterrolebinding breaker-013",
    ),
    Breaker(
        breaks("CLUSTER-013"),
        on="cp-1",
        harm=f"{KUBECTL} create clusterrolebinding breaker-013 --clusterrole=view --serviceaccount=kube-system:default",
        mend=f"{KUBECTL} delete clusterrolebinding breaker-013",
    ),
    Breaker(
        breaks("CLUSTER-014"),
        on="worker-1",
        harm="cd /etc/kubernetes && cp -p kubelet.conf old.conf && "
        "sed -i 's#server: .*#server: https://192.0.2.1:6443#' old.conf",
        mend="rm /etc/kubernetes/old.conf",
    ),
    # The machines' host loses the API, the machines do not.
    Breaker(
        breaks("CLUSTER-015"),
        on="cp-1",
        harm='nft "table ip breaker_015 { chain harm { type filter hook input priority filter; '
        "ip saddr $(ip route show default | cut -d ' ' -f 3) tcp dport 6443 reject with tcp reset; }; }\"",
        mend="nft delete table ip breaker_015",
    ),
    Breaker(
        breaks("CLUSTER-016"),
        on="cp-1",
        harm=f"{IN_SYSTEM} create -f - <<'END'{DEPLOYMENT}END",
        mend=f"{IN_SYSTEM} delete deployment breaker",
    ),
    # It fails once, and runs then.
    Breaker(
        breaks("CLUSTER-017"),
        on="cp-1",
        harm=f"{KUBECTL} create -f - <<'END'{ONCE}END",
        mend=f"{IN_SYSTEM} delete pod breaker",
        felt=f"{IN_SYSTEM} get pod breaker | grep -E '1/1 +Running +1'",
    ),
    Breaker(
        breaks("CLUSTER-018"),
        on="cp-1",
        harm=f"{SETTLED}; {KUBECTL} create -f - <<END{EVENT}"
        "firstTimestamp: $(date -u +%Y-%m-%dT%H:%M:%SZ)\nlastTimestamp: $(date -u +%Y-%m-%dT%H:%M:%SZ)\nEND",
        mend=f"{IN_SYSTEM} delete event breaker",
    ),
    Breaker(
        breaks("CLUSTER-019"),
        on="worker-1",
        harm="nft add element ip kube-proxy service-ips '{ 192.0.2.1 . tcp . 80 : drop }'",
        mend="nft delete element ip kube-proxy service-ips '{ 192.0.2.1 . tcp . 80 }'",
    ),
    Breaker(
        breaks("CLUSTER-020"),
        on="cp-1",
        harm=f"{IN_SYSTEM} scale deployment coredns --replicas=1",
        mend=f"{IN_SYSTEM} scale deployment coredns --replicas=2",
        felt=waits(1),
        well=waits(2),
    ),
    Breaker(
        breaks("CLUSTER-021"),
        on="cp-1",
        harm=retarget(81),
        mend=retarget(80),
        felt=f"! {PAGE}",
        well=PAGE,
    ),
    Breaker(
        breaks("CLUSTER-043"),
        on="cp-1",
        harm=f"{KUBECTL} create -f - <<'END'{NOBODYS_API}END",
        mend=f"{KUBECTL} delete apiservice v1.breaker.example",
        felt=f"{KUBECTL} get apiservice v1.breaker.example | grep ServiceNotFound",
    ),
    Breaker(
        breaks("CLUSTER-043"),
        on="cp-1",
        harm=f"{KUBECTL} create -f - <<'END'{STAYS}END\n{KUBECTL} delete namespace breaker --wait=false",
        mend=f"""{KUBECTL} -n breaker patch configmap kept --type=merge -p '{{"metadata": {{"finalizers": null}}}}'""",
        felt=f"test $(date +%s) -gt $((60 + $(date +%s -d $({KUBECTL} get namespace breaker "
        "-o jsonpath='{.metadata.deletionTimestamp}'))))",
        well=f"! {KUBECTL} get namespace breaker",
    ),
    Breaker(
        breaks("CLUSTER-044"),
        on="cp-1",
        harm=f"{KUBECTL} create -f - <<'END'{INVITATION}END",
        mend=f"{IN_SYSTEM} delete secret bootstrap-token-breake",
    ),
    # What nobody asks for until a machine joins, or somebody runs kubeadm.
    Breaker(
        breaks("CLUSTER-045"),
        on="cp-1",
        harm=f"{KUBECTL} get clusterrolebinding kubeadm:get-nodes -o yaml > /run/breaker && "
        f"{KUBECTL} delete clusterrolebinding kubeadm:get-nodes",
        mend=f"{KUBECTL} create -f /run/breaker",
    ),
    Breaker(
        breaks("CLUSTER-013"),
        on="cp-1",
        harm=f"{KUBECTL} create clusterrole breaker-013 --verb=get --non-resource-url=/metrics && "
        f"{KUBECTL} create clusterrolebinding breaker-013 --clusterrole=breaker-013 --serviceaccount=default:default",
        mend=f"{KUBECTL} delete clusterrolebinding,clusterrole breaker-013",
    ),
    # A node without a machine. It has no label by which a DaemonSet would want a pod there.
    Breaker(
        breaks("CLUSTER-001"),
        on="cp-1",
        harm=f"{KUBECTL} create -f - <<'END'{GHOST}END",
        mend=f"{KUBECTL} delete node breaker",
    ),
]
