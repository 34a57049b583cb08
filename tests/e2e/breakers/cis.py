"""Against the items of the CIS Kubernetes Benchmark.

What only is looked at, files and the kubelet's configuration, is changed in place. Programs of the control plane get
other arguments, with which they still work: a path that is not whole, say.
"""

from __future__ import annotations

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks, renewed

MANIFESTS = "/etc/kubernetes/manifests"
KUBELET = "/var/lib/kubelet/config.yaml"
ANYWHERE = "0.0.0.0"  # noqa: S104 (that is the harm)
AWAIT = "timeout 120 sh -c 'until {}; do sleep 0.2; done'"
SECRETS, OTHERS = breaks("NODE-039"), breaks("NODE-010")
PROXY = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~configmap/kube-proxy"


def numbers(section: str, *items: int) -> frozenset[str]:
    """The checks of a section of the benchmark."""
    return breaks(*(f"CIS-{section}.{item}" for item in items))


# Of the programs that look for a leader, so that none of them ends by itself while there is no API server; nor must the
# kubelet wait for a silent API server, to tell it that they are gone.
ASIDE = (
    f"mkdir -p /root/aside && cd {MANIFESTS} && mv kube-controller-manager.yaml kube-scheduler.yaml /root/aside/ && "
    + AWAIT.format(
        f'! pgrep -x "kube-controller|kube-scheduler" && seen=$({KUBECTL} -n kube-system get pods -o name) && '
        '! echo "$seen" | grep -E "controller-manager|kube-scheduler"'
    )
)
BACK = f"mv /root/aside/*.yaml {MANIFESTS}/"
# Of an API server without etcd, the kubelet awaits an answer for 34 s before it starts another etcd.
SERVER_ASIDE = f"mv {MANIFESTS}/kube-apiserver.yaml /root/aside/ && " + AWAIT.format("! pgrep -x kube-apiserver")


def put(program: str) -> str:
    """Put /root/PROGRAM.new in the place of the manifest, and await the program and API server that come of it."""
    name = program[:15]  # as the kernel calls it
    new = f'pgrep -x {name} | grep -qvx "$old"'
    place = f"old=$(pgrep -x {name}); export old; mv /root/{program}.new {MANIFESTS}/{program}.yaml"
    placed = f"{place} && {AWAIT.format(new)}"
    ready = AWAIT.format(f"{KUBECTL} get --raw /readyz")
    if program == "etcd":
        return f"{ASIDE} && {SERVER_ASIDE} && {placed} && {BACK} && {ready}"
    if program == "kube-apiserver":
        return f"{ASIDE} && {placed} && {ready} && {BACK}"
    return f"{placed} && {ready}"


ALL_WELL = " && ".join(
    [
        "! ls /root/aside/*.yaml",
        renewed("kube-controller-manager"),
        renewed("kube-scheduler"),
        f'[ -z "$({KUBECTL} -n kube-system get pods -l tier=control-plane --no-headers | grep -v " 1/1 ")" ]',
    ]
)


def arguments(program: str, checks: frozenset[str], before: str = "true", after: str = "true", **flags: str) -> Breaker:
    """Other arguments for a program of the control plane; an empty one is taken away."""
    names = {name.replace("_", "-"): value for name, value in flags.items()}
    sed = [f"-e '/- --{name}=/d'" for name in names]
    sed += [f"-e '/^    - {program}$/a\\    - --{name}={value}'" for name, value in names.items() if value]
    manifest = f"{MANIFESTS}/{program}.yaml"
    harm = f"cp -p {manifest} /root/{program}.old && sed {' '.join(sed)} {manifest} > /root/{program}.new"
    mend = f"cp -p /root/{program}.old /root/{program}.new"
    return Breaker(
        checks,
        on="cp-1",
        harm=f"umask 077; {before} && {harm} && {put(program)}",
        mend=f"{mend} && {put(program)} && {after}",
        felt=ALL_WELL,
        well=ALL_WELL,
    )


def touched(checks: frozenset[str], on: str, change: str, *paths: str) -> Breaker:
    """Other modes or owners, and the old ones again."""
    note = 'chmod %m \\"%p\\"\\nchown %u:%g \\"%p\\"\\n'
    return Breaker(
        checks,
        on=on,
        harm=f'find {" ".join(paths)} -printf "{note}" > /root/touched && {change} {" ".join(paths)}',
        mend="sh /root/touched",
    )


def edited(checks: frozenset[str], on: str, path: str, *sed: str) -> Breaker:
    """A file with other words, and the old one again."""
    words = " ".join(f"-e '{line}'" for line in sed)
    return Breaker(
        checks,
        on=on,
        harm=f"umask 077; cp -p {path} /root/edited && sed -i --follow-symlinks {words} {path}",
        mend=f"cp -p /root/edited {path}",
    )


ADMIN = "/etc/kubernetes/admin.conf"
CONTROL_PLANE_FILES = (
    *(
        f"{MANIFESTS}/{program}.yaml"
        for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ),
    *("/etc/cni/net.d/10-labctl.conflist", "/var/lib/etcd", ADMIN),
    *("/etc/kubernetes/scheduler.conf", "/etc/kubernetes/controller-manager.conf"),
)
KEYS = ("/etc/kubernetes/pki/front-proxy-ca.crt", "/etc/kubernetes/pki/front-proxy-ca.key")
NODE_FILES = ("/etc/systemd/system/kubelet.service", "/etc/kubernetes/kubelet.conf", KUBELET)
PROXIES, DAEMONSET = f"{KUBECTL} -n kube-system", "daemonset kube-proxy"
LISTENS = (
    '[{"op": "add", "path": "/spec/template/spec/containers/0/command/-", '
    f'"value": "--metrics-bind-address={ANYWHERE}:10249"}}]'
)

BREAKERS = [
    touched(
        numbers("1.1", 1, 3, 5, 7, 9, 11, 13, 15, 17, 20, 21) | SECRETS | OTHERS,
        "cp-1",
        "chmod a+rwx",
        *CONTROL_PLANE_FILES,
        *KEYS,
    ),
    touched(
        numbers("1.1", 2, 4, 6, 8, 10, 12, 14, 16, 18, 19) | SECRETS | OTHERS,
        "cp-1",
        "chown nobody:nogroup",
        *CONTROL_PLANE_FILES,
        *KEYS,
    ),
    arguments(
        "kube-apiserver",
        numbers("1.2", *range(2, 11), *range(12, 28), 29, 30) | numbers("3.2", 1) | breaks("CLUSTER-013"),
        before="echo token,nobody,nobody > /etc/kubernetes/pki/tokens.csv",
        after="rm /etc/kubernetes/pki/tokens.csv",
        token_auth_file="/etc/kubernetes/pki/tokens.csv",  # noqa: S106 (a path)
        enable_admission_plugins="AlwaysAdmit",
        disable_admission_plugins="ServiceAccount,NamespaceLifecycle",
        kubelet_client_certificate="",
        kubelet_client_key="",
        kubelet_certificate_authority="",
        authorization_mode="AlwaysAllow",
        profiling="true",
        audit_log_path="var/log/kubernetes/audit.log",
        audit_policy_file="etc/labctl/apiserver/audit.yml",
        audit_log_maxage="7",
        audit_log_maxbackup="3",
        audit_log_maxsize="10",
        request_timeout="10m0s",
        service_account_lookup="false",
        service_account_key_file="etc/kubernetes/pki/sa.pub",
        etcd_certfile="etc/kubernetes/pki/apiserver-etcd-client.crt",
        etcd_keyfile="etc/kubernetes/pki/apiserver-etcd-client.key",
        etcd_cafile="etc/kubernetes/pki/etcd/ca.crt",
        tls_cert_file="etc/kubernetes/pki/apiserver.crt",
        tls_private_key_file="etc/kubernetes/pki/apiserver.key",
        client_ca_file="etc/kubernetes/pki/ca.crt",
        encryption_provider_config="etc/kubernetes/encryption.yml",
        tls_cipher_suites="",
        service_account_extend_token_expiration="true",  # noqa: S106 (a switch)
    ),
    edited(numbers("1.2", 28), "cp-1", "/etc/kubernetes/encryption.yml", "s/- secretbox:/- identity: {}\\n      &/"),
    edited(numbers("3.2", 2), "cp-1", "/etc/labctl/apiserver/audit.yml", "s/level: Metadata/level: Request/"),
    arguments(
        "kube-controller-manager",
        numbers("1.3", *range(1, 8)) | breaks("NODE-050"),
        terminated_pod_gc_threshold="",
        profiling="true",
        use_service_account_credentials="false",
        service_account_private_key_file="etc/kubernetes/pki/sa.key",
        root_ca_file="etc/kubernetes/pki/ca.crt",
        feature_gates="RotateKubeletServerCertificate=false",
        bind_address=ANYWHERE,
    ),
    arguments("kube-scheduler", numbers("1.4", 1, 2) | breaks("NODE-050"), profiling="true", bind_address=ANYWHERE),
    arguments(
        "etcd",
        numbers("2", *range(1, 8)) | breaks("CLUSTER-009"),
        cert_file="etc/kubernetes/pki/etcd/server.crt",
        key_file="etc/kubernetes/pki/etcd/server.key",
        client_cert_auth="false",
        trusted_ca_file="",
        auto_tls="true",
        peer_cert_file="etc/kubernetes/pki/etcd/peer.crt",
        peer_key_file="etc/kubernetes/pki/etcd/peer.key",
        peer_client_cert_auth="false",
        peer_auto_tls="true",
    ),
    touched(numbers("4.1", 1, 5, 7, 9) | SECRETS, "worker-1", "chmod a+rwx", *NODE_FILES, "/etc/kubernetes/pki/ca.crt"),
    touched(
        numbers("4.1", 2, 6, 8, 10) | SECRETS,
        "worker-1",
        "chown nobody:nogroup",
        *NODE_FILES,
        "/etc/kubernetes/pki/ca.crt",
    ),
    touched(numbers("4.1", 4), "worker-1", "chown nobody:nogroup", f"{PROXY}/..data/kubeconfig.conf"),
    edited(
        # What is not named is not to be found either: 4.1.7 and 4.1.8 look at the clients' authority.
        numbers("4.2", *range(1, 7), *range(8, 15)) | numbers("4.1", 7, 8),
        "worker-1",
        KUBELET,
        "/anonymous:/{n;s/false/true/}",
        "s/mode: Webhook/mode: AlwaysAllow/",
        "/clientCAFile:/d",
        "/streamingConnectionIdleTimeout:/d",
        "s/rotateCertificates: true/rotateCertificates: false/",
        "/eventRecordQPS:/d",
        "/tlsCertFile:/d",
        "/podPidsLimit:/d",
        "/seccompDefault:/d",
        "s/TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384/TLS_RSA_WITH_AES_256_CBC_SHA/",
        "$a\\readOnlyPort: 10255\\nstreamingConnectionIdleTimeout: 0s",
        "$a\\makeIPTablesUtilChains: false\\neventRecordQPS: 1",
        "$a\\featureGates: {RotateKubeletServerCertificate: false}",
    ),
    Breaker(
        numbers("4.2", 7),
        on="worker-1",
        harm="cp -p /var/lib/kubelet/kubeadm-flags.env /root/flags && "
        'sed -i "s/--node-ip/--hostname-override=$(hostname) &/" /var/lib/kubelet/kubeadm-flags.env && '
        "systemctl restart kubelet",
        mend="cp -p /root/flags /var/lib/kubelet/kubeadm-flags.env && systemctl restart kubelet",
        felt=f"! {KUBECTL} get nodes | grep -q NotReady",
        well=f"! {KUBECTL} get nodes | grep -q NotReady",
    ),
    # The kubelet would write the file of a ConfigMap again at some moment; an argument stays.
    Breaker(
        numbers("4.3", 1),
        on="cp-1",
        harm=f"{PROXIES} patch {DAEMONSET} --type=json --patch='{LISTENS}'",
        mend=f"{PROXIES} rollout undo {DAEMONSET}",
        felt=f"{PROXIES} rollout status {DAEMONSET} --timeout=90s",
        well=f"{PROXIES} rollout status {DAEMONSET} --timeout=90s",
        seen_on=frozenset({"cp-1", "worker-1", "worker-2"}),
    ),
]
