"""Against what containerd, the kubelet and the control plane are told."""

from __future__ import annotations

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks, renewed

KUBELET, CONTAINERD = "/var/lib/kubelet/config.yaml", "/etc/containerd/config.toml"
FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
MANIFESTS = "/etc/kubernetes/manifests"
MANAGER = f"{MANIFESTS}/kube-controller-manager.yaml"
# In place, for the kubelet takes every file in there for a pod, sed's temporary one too.
EDIT = f"cp {MANAGER} /run/breaker && sed '%s' /run/breaker > {MANAGER}"
MANAGES = (
    f"{KUBECTL} -n kube-system get pods -l component=kube-controller-manager "
    "-o jsonpath='{..command}{..conditions[?(@.type==\"Ready\")].status}' | grep -q 'node-monitor-period=%s\".*True'"
)


def edits(checks: frozenset[str], file: str, script: str) -> Breaker:
    """`sed` changes a file that nobody reads again before it is put back."""
    return Breaker(checks, on="worker-1", harm=f"sed -i.away '{script}' {file}", mend=f"mv {file}.away {file}")


BREAKERS = [
    edits(breaks("NODE-025"), CONTAINERD, "/SystemdCgroup/{s/false/TRUE/;s/true/false/;s/TRUE/true/}"),
    Breaker(
        breaks("NODE-026"),
        on="worker-1",
        harm="mkdir -p /etc/containerd/certs.d/breaker.example && "
        "echo '# Written by labctl.' > /etc/containerd/certs.d/breaker.example/hosts.toml",
        mend="rm -r /etc/containerd/certs.d/breaker.example",
    ),
    edits(breaks("NODE-027"), KUBELET, "s/^nodeLeaseDurationSeconds: .*/nodeLeaseDurationSeconds: 40/"),
    Breaker(
        breaks("NODE-028"),
        on="cp-1",
        harm=EDIT % "s/--node-monitor-period=1s/--node-monitor-period=2s/",
        mend=f"cat /run/breaker > {MANAGER}",
        felt=f"{MANAGES % '2s'} && {renewed('kube-controller-manager')}",
        well=f"{MANAGES % '1s'} && {renewed('kube-controller-manager')}",
    ),
    edits(breaks("NODE-029"), KUBELET, "/^clusterDNS:/{n;s/.*/- 192.0.2.1/}"),
    Breaker(
        breaks("NODE-030"),
        on="worker-1",
        harm="cp /etc/resolv.conf /run/breaker && echo nameserver 127.0.0.53 >> /etc/resolv.conf",
        mend="cat /run/breaker > /etc/resolv.conf",
    ),
    edits(breaks("NODE-031", "NODE-051"), FLAGS, "s/--node-ip=/--node-ip=1/"),
    Breaker(
        breaks("NODE-041"),
        on="cp-1",
        harm=f"touch {MANIFESTS}/kube-scheduler.yaml.bak",
        mend=f"rm {MANIFESTS}/kube-scheduler.yaml.bak",
    ),
    Breaker(
        breaks("NODE-042", "CIS-1.4.1", "CIS-1.4.2"),
        on="cp-1",
        harm="cp /usr/bin/sleep /var/tmp/kube-scheduler && systemd-run --unit=breaker /var/tmp/kube-scheduler infinity",
        mend="systemctl stop breaker; rm /var/tmp/kube-scheduler",
    ),
]
