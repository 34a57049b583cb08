"""CIS Kubernetes Benchmark 1.12, section 4: files of every node, the kubelet, kube-proxy."""

from __future__ import annotations

import pytest

from labctl.verify import Expect
from labctl.verify.cis import STRONG_CIPHERS, Item, Look, items, kubelet, mode, owner
from labctl.verify.deviations import CALLED_OTHERWISE
from labctl.verify.programs import Programs

LEAST_EVENTS = 5
LOCAL = ("127.0.0.1", "localhost", "[::1]")
UNIT = "Who can write the kubelet's unit runs any program as root on the node."
KUBECONFIG = "It tells how the kubelet proves who it is: who can use it acts as this node."
AUTHORITY = "Who can write it decides whom the kubelet believes."
CONFIG = "Who can write it opens the kubelet to everybody; who can read it sees how it is closed."
PROXY_FILE = "It tells how kube-proxy proves who it is: who can use it acts as kube-proxy."


def units(programs: Programs) -> list[str]:
    return programs.kubelet_units


def kubeconfig(programs: Programs) -> list[str]:
    return [programs.flags("kubelet").get("kubeconfig", "")]


def authority(programs: Programs) -> list[str]:
    return [programs.client_ca]


def config(programs: Programs) -> list[str]:
    return [programs.flags("kubelet").get("config", "")]


def proxy_kubeconfig(programs: Programs) -> list[str]:
    return [programs.proxy_kubeconfig]


def switch(path: str, wanted: str, argument: str) -> Look:
    return kubelet(path, wanted, lambda value: str(value).lower() == wanted, argument)


def see_name(programs: Programs, expect: Expect) -> None:
    seen = programs.flags("kubelet").get("hostname-override")
    if seen == programs.node != programs.hostname:
        expect.excuse = CALLED_OTHERWISE
    expect("--hostname-override", None, seen)


def see_metrics(programs: Programs, expect: Expect) -> None:
    # Not set means 127.0.0.1:10249.
    seen = programs.flags("kube-proxy").get("metrics-bind-address", programs.kube_proxy.get("metricsBindAddress") or "")
    expect.that("metricsBindAddress", "127.0.0.1", seen, seen == "" or seen.startswith(LOCAL))


FILES = [
    Item("4.1.1", "nobody but its owner may read or write the kubelet's unit", UNIT, mode(units, 0o600)),
    Item("4.1.2", "root owns the kubelet's unit", UNIT, owner(units, "root:root")),
    Item(
        "4.1.5", "nobody but its owner may read or write the kubelet's kubeconfig", KUBECONFIG, mode(kubeconfig, 0o600)
    ),
    Item("4.1.6", "root owns the kubelet's kubeconfig", KUBECONFIG, owner(kubeconfig, "root:root")),
    Item("4.1.7", "nobody but its owner may write the clients' authority", AUTHORITY, mode(authority, 0o644)),
    Item("4.1.8", "root owns the clients' authority", AUTHORITY, owner(authority, "root:root")),
    Item("4.1.9", "nobody but its owner may read or write the kubelet's configuration", CONFIG, mode(config, 0o600)),
    Item("4.1.10", "root owns the kubelet's configuration", CONFIG, owner(config, "root:root")),
]
KUBELET = [
    Item(
        "4.2.1",
        "the kubelet refuses requests without a name",
        "Otherwise whoever reaches port 10250 runs commands in all pods of the node.",
        switch("authentication.anonymous.enabled", "false", "anonymous-auth"),
    ),
    Item(
        "4.2.2",
        "the kubelet asks the API server who may do what",
        "With AlwaysAllow every client with a certificate runs commands in all pods of the node.",
        kubelet(
            "authorization.mode",
            "Webhook",
            lambda value: value not in (None, "AlwaysAllow"),
            "authorization-mode",
        ),
    ),
    Item(
        "4.2.3",
        "the kubelet knows its clients by certificates",
        "Without an authority it cannot tell the API server from others.",
        kubelet("authentication.x509.clientCAFile", "a file", bool, "client-ca-file"),
    ),
    Item(
        "4.2.4",
        "the kubelet's port without a password is closed",
        "Port 10255 tells everybody which pods run with which settings.",
        kubelet("readOnlyPort", "0", lambda value: value in (None, 0, "0"), "read-only-port"),
    ),
    Item(
        "4.2.5",
        "idle shells and port-forwards are closed at some time",
        "Forgotten ones would keep a way into a pod open, and a connection busy.",
        kubelet(
            "streamingConnectionIdleTimeout",
            "more than 0",
            lambda value: value not in (None, 0, "0", "0s"),
            "streaming-connection-idle-timeout",
        ),
    ),
    Item(
        "4.2.6",
        "the kubelet keeps its chains in iptables",
        "Others find out by them which iptables the node uses.",
        kubelet(
            "makeIPTablesUtilChains", "true", lambda value: value in (None, True, "true"), "make-iptables-util-chains"
        ),
    ),
    Item(
        "4.2.7",
        "a node is called as its machine is",
        "With a name of its own, certificates and logs no longer say which machine it was.",
        Look(see_name, "take --hostname-override out of /var/lib/kubelet/kubeadm-flags.env; systemctl restart kubelet"),
    ),
    Item(
        "4.2.8",
        "the kubelet may report enough events",
        "With too few, what went wrong on a busy node is not told.",
        kubelet(
            "eventRecordQPS",
            f"not set (50), {LEAST_EVENTS} or more, or 0 (no limit)",
            lambda value: value is None or int(value) == 0 or int(value) >= LEAST_EVENTS,
            "event-qps",
        ),
    ),
    Item(
        "4.2.9",
        "the kubelet has a certificate of the cluster",
        "One that it signed itself nobody can check: whoever answers in its place is believed.",
        kubelet("tlsCertFile", "a file", bool, "tls-cert-file"),
    ),
    Item(
        "4.2.10",
        "the kubelet renews its client certificate",
        "Otherwise the node is lost after a year.",
        switch("rotateCertificates", "true", "rotate-certificates"),
    ),
    Item(
        "4.2.11",
        "the kubelet may renew its serving certificate",
        "Otherwise it expires, and logs and exec with it.",
        kubelet(
            "featureGates.RotateKubeletServerCertificate",
            "not false",
            lambda value: value in (None, True),
        ),
    ),
    Item(
        "4.2.12",
        "the kubelet speaks strong ciphers only",
        "Weak ones can be read along.",
        kubelet(
            "tlsCipherSuites",
            "ECDHE with AES-GCM or ChaCha20 only",
            lambda value: bool(value) and set(value) <= STRONG_CIPHERS,
        ),
    ),
    Item(
        "4.2.13",
        "a pod's processes are limited in number",
        "One pod that forks without end takes the whole node down.",
        kubelet("podPidsLimit", "more than 0", lambda value: int(value or -1) > 0, "pod-max-pids"),
    ),
    Item(
        "4.2.14",
        "containers run with the runtime's seccomp profile",
        "Without it every container reaches all of the kernel's calls, and their bugs.",
        switch("seccompDefault", "true", "seccomp-default"),
    ),
]
PROXY = [
    Item(
        "4.1.3",
        "nobody but its owner may read or write kube-proxy's kubeconfig",
        PROXY_FILE,
        mode(proxy_kubeconfig, 0o600),
    ),
    Item("4.1.4", "root owns kube-proxy's kubeconfig", PROXY_FILE, owner(proxy_kubeconfig, "root:root")),
    Item(
        "4.3.1",
        "kube-proxy's metrics are for this machine only",
        "They tell everybody how the node's traffic goes.",
        Look(see_metrics, "set metricsBindAddress: 127.0.0.1:10249 in the ConfigMap kube-proxy of kube-system"),
    ),
]


@items([*FILES, *KUBELET])
def test_node(programs: Programs, item: Item, expect: Expect) -> None:
    item.look.see(programs, expect)


@items(PROXY)
def test_kube_proxy(programs: Programs, item: Item, expect: Expect) -> None:
    if not programs.runs("kube-proxy"):
        pytest.skip("kube-proxy does not run here")
    item.look.see(programs, expect)
