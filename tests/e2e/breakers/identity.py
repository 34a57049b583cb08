"""Against who a machine is, its certificates and its secrets."""

from __future__ import annotations

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks

PKI = "/etc/kubernetes/pki"
# kubeadm alone uses it, to ask whether etcd is well.
SPARE = f"{PKI}/etcd/healthcheck-client"
NEW_KEY = "openssl ecparam -genkey -noout -name prime256v1"
SIGN = f"openssl x509 -req -CA {PKI}/etcd/ca.crt -CAkey {PKI}/etcd/ca.key 2>/dev/null"
WORKERS = f"{KUBECTL} get nodes --selector '!node-role.kubernetes.io/control-plane'"


def replaces(checks: frozenset[str], file: str, command: str) -> Breaker:
    """What `command` prints is the file's text, on the control plane; its mode and owner stay."""
    harm = f"cp {file} /run/breaker && {command} > /run/breaker.new && cat /run/breaker.new > {file}"
    return Breaker(checks, on="cp-1", harm=harm, mend=f"cat /run/breaker > {file}; rm /run/breaker*")


def renews(check: str, name: str, subject: str, days: int) -> Breaker:
    """A certificate of etcd's authority is signed anew, without the names that it was for."""
    request = f"openssl req -new -key {PKI}/etcd/{name}.key -subj {subject}"
    return replaces(breaks(check), f"{PKI}/etcd/{name}.crt", f"{request} | {SIGN} -days {days}")


BREAKERS = [
    Breaker(
        breaks("NODE-032"),
        on="worker-1",
        harm="hostname $(hostname)-x",
        mend="hostname $(hostname | sed 's/-x$//')",
    ),
    Breaker(
        breaks("NODE-033"),
        on="cp-1",
        seen_on=frozenset({"cp-1", "worker-1"}),
        harm="cp /etc/machine-id /run/breaker && "
        f"{WORKERS} -o jsonpath='{{.items[0].status.nodeInfo.machineID}}' > /etc/machine-id",
        mend="cat /run/breaker > /etc/machine-id",
    ),
    # The right one stays behind it, so that the kubelet can do its work.
    Breaker(
        breaks("NODE-034", "NODE-036"),
        on="worker-1",
        harm=f"cp {PKI}/ca.crt /run/breaker && {NEW_KEY} > /run/breaker.key && "
        "openssl req -x509 -key /run/breaker.key -days 900 -subj /CN=other > /run/breaker.crt && "
        f"cat /run/breaker.crt /run/breaker > {PKI}/ca.crt",
        mend=f"cat /run/breaker > {PKI}/ca.crt; rm /run/breaker*",
    ),
    renews("NODE-035", "healthcheck-client", "/CN=kube-etcd-healthcheck-client", 5),
    replaces(breaks("NODE-036", "CLUSTER-008"), f"{SPARE}.key", NEW_KEY),
    renews("NODE-037", "peer", "/CN=peer", 900),
    replaces(breaks("NODE-038"), "/etc/kubernetes/scheduler.conf", "cat /etc/kubernetes/controller-manager.conf"),
    # The API server reads it as it starts.
    replaces(breaks("NODE-036"), f"{PKI}/sa.pub", f"{NEW_KEY} | openssl pkey -pubout"),
    Breaker(
        breaks("NODE-039"),
        on="cp-1",
        harm=f"cp {PKI}/ca.key /etc/kubernetes/ca.key.old && chmod 644 /etc/kubernetes/ca.key.old",
        mend="rm /etc/kubernetes/ca.key.old",
    ),
    Breaker(
        breaks("NODE-039"),
        on="worker-1",
        harm="chmod 644 /var/lib/kubelet/pki/kubelet.key",
        mend="chmod 600 /var/lib/kubelet/pki/kubelet.key",
    ),
    Breaker(
        breaks("NODE-040"),
        on="cp-1",
        harm="touch /run/labctl-kubeadm/token",
        mend="rm /run/labctl-kubeadm/token",
    ),
]
