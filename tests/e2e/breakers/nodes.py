"""Against tests/nodes: services, programs, kernel and disks here; the rest is beside."""

from __future__ import annotations

from tests.e2e.breakers import identity, network, settings
from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks, mounts_over

READY = f"! {KUBECTL} get nodes | grep -q NotReady"
HEALTHY = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/10248' 2>/dev/null"
CTR = "ctr --namespace k8s.io images"
BIN, CNI = "/usr/local/bin", "/opt/cni/bin"
ROOTS = f"{CNI}/firewall /etc/containerd/config.toml /etc/systemd/system/containerd.service /var/lib/kubelet"
DROP_INS = "/etc/systemd/system/kubelet.service.d"
CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"

SERVICES = [
    Breaker(
        breaks("NODE-001"),
        on="worker-1",
        harm="systemctl disable containerd",
        mend="systemctl enable containerd",
    ),
    Breaker(
        breaks("NODE-002"),
        on="worker-1",
        harm="mv /run/containerd/containerd.sock /run/containerd/away.sock",
        mend="mv /run/containerd/away.sock /run/containerd/containerd.sock",
    ),
    Breaker(
        breaks("NODE-003"),
        on="worker-1",
        harm="nft 'table ip breaker { chain input { type filter hook input priority 0; "
        "iif lo tcp dport 10248 reject with tcp reset; }; }'",
        mend="nft delete table ip breaker",
    ),
    Breaker(
        breaks("NODE-004"),
        on="worker-1",
        harm="systemctl disable labctl-network",
        mend="systemctl enable labctl-network",
    ),
    Breaker(
        breaks("NODE-005"),
        on="worker-1",
        harm="systemd-run --unit=breaker false; until systemctl is-failed breaker; do sleep 0.1; done",
        mend="systemctl reset-failed breaker",
    ),
    Breaker(
        breaks("NODE-006"),
        on="worker-1",
        harm="systemctl kill --signal=KILL kubelet; sleep 1; "
        f'until [ "$(systemctl show --property=NRestarts --value kubelet)" -gt 0 ] && {HEALTHY}; do sleep 0.1; done',
        mend="systemctl reset-failed kubelet",
        felt=READY,
        well=READY,
    ),
]

PROGRAMS = [
    # For its next start.
    Breaker(
        breaks("NODE-051"),
        on="worker-1",
        harm=f"umask 077; mkdir -p {DROP_INS} && systemctl daemon-reload && "
        f"printf '[Service]\\nEnvironment=KUBELET_EXTRA_ARGS=--anonymous-auth=true\\n' > {DROP_INS}/99-breaker.conf && "
        "systemctl daemon-reload",
        mend=f"rm {DROP_INS}/99-breaker.conf; rmdir --ignore-fail-on-non-empty {DROP_INS} && systemctl daemon-reload",
    ),
    Breaker(
        breaks("NODE-007"),
        on="worker-1",
        harm=f"mv {BIN}/kubeadm {BIN}/kubeadm.away && install -m 755 /dev/null {BIN}/kubeadm && "
        f"printf '#!/bin/sh\\necho v1.2.3\\n' > {BIN}/kubeadm",
        mend=f"mv {BIN}/kubeadm.away {BIN}/kubeadm",
    ),
    Breaker(
        breaks("NODE-008"),
        on="worker-1",
        harm=f"printf x >> {CNI}/firewall",
        mend=f"truncate --size=-1 {CNI}/firewall",
    ),
    Breaker(
        breaks("NODE-009"),
        on="worker-1",
        harm=f"mv {BIN}/kubelet {BIN}/kubelet.away && cp -p {BIN}/kubelet.away {BIN}/kubelet",
        mend=f"mv {BIN}/kubelet.away {BIN}/kubelet",
    ),
    Breaker(
        breaks("NODE-010"),
        on="worker-1",
        harm=f"chmod o+w {ROOTS}",
        mend=f"chmod o-w {ROOTS}",
    ),
    Breaker(
        breaks("NODE-011"),
        on="worker-1",
        harm="mv /usr/sbin/conntrack /usr/sbin/conntrack.away",
        mend="mv /usr/sbin/conntrack.away /usr/sbin/conntrack",
    ),
    Breaker(
        breaks("NODE-012"),
        on="worker-1",
        harm=f"ref=$({CTR} ls -q | grep /kube-scheduler:) && echo $ref > /run/breaker && "
        f"{CTR} tag $ref localhost/breaker:1 && {CTR} rm $ref",
        mend=f"{CTR} tag localhost/breaker:1 $(cat /run/breaker) && {CTR} rm localhost/breaker:1",
    ),
    Breaker(
        breaks("NODE-013"),
        on="worker-1",
        harm="sed -i.away 's|/pause:|/pause:0.|' /etc/containerd/config.toml",
        mend="mv /etc/containerd/config.toml.away /etc/containerd/config.toml",
    ),
]

KERNEL = [
    Breaker(
        breaks("NODE-014", "CLUSTER-021"),
        on="worker-1",
        harm="sysctl net.ipv4.ip_forward=0",
        mend="sysctl net.ipv4.ip_forward=1",
    ),
    Breaker(
        breaks("NODE-014", "CLUSTER-021"),
        on="worker-1",
        harm="sysctl net.ipv4.conf.eth0.forwarding=0",
        mend="sysctl net.ipv4.conf.eth0.forwarding=1",
    ),
    Breaker(
        breaks("NODE-015"),
        on="worker-1",
        harm="sysctl net.bridge.bridge-nf-call-iptables=0",
        mend="sysctl net.bridge.bridge-nf-call-iptables=1",
    ),
    # These are the host's own where machines are containers: not they, but what the machine sees of them is changed.
    mounts_over("NODE-016", "/proc/sys/kernel/panic", "0"),
    mounts_over("NODE-017", "/proc/sys/fs/inotify/max_user_instances", "63"),
    mounts_over("NODE-018", "/proc/sys/net/netfilter/nf_conntrack_count", "999999999"),
    Breaker(
        breaks("NODE-019"),
        on="worker-1",
        harm=f"at={CONTROLLERS}; text=cpu; [ -e $at ] || {{ at=/proc/cgroups; text='#\\ncpu 1 1 1'; }}; "
        'printf "$text\\n" > /run/breaker && mount --bind /run/breaker $at',
        mend=f"umount /proc/cgroups || umount {CONTROLLERS}",
    ),
    Breaker(
        breaks("NODE-020"),
        on="worker-1",
        harm="sed -i.away 's/^failSwapOn: false/failSwapOn: true/' /var/lib/kubelet/config.yaml && "
        "printf 'Filename Type Size Used Priority\\n/swapfile file 1048572 0 -2\\n' > /run/breaker && "
        "mount --bind /run/breaker /proc/swaps",
        mend="umount /proc/swaps; mv /var/lib/kubelet/config.yaml.away /var/lib/kubelet/config.yaml",
    ),
    # A container's clock is its host's.
    Breaker(
        breaks("NODE-021"),
        on="worker-1",
        harm=f"install -m 755 /dev/null {BIN}/date && "
        f'printf \'#!/bin/sh\\nexec /usr/bin/date -d "+2 seconds" "$@"\\n\' > {BIN}/date',
        mend=f"rm {BIN}/date",
    ),
]

MOUNTS = [
    Breaker(
        breaks("NODE-022"),
        on="worker-1",
        harm="mount --make-private /",
        mend="mount --make-rshared /",
    ),
    Breaker(
        breaks("NODE-023"),
        on="worker-1",
        harm="mount -o remount,bind,nosuid /var",
        mend="mount -o remount,bind,suid /var",
    ),
    Breaker(
        breaks("NODE-024"),
        on="worker-1",
        harm="mount -o remount,size=$(($(df --output=used -k /run | tail -n 1) + 4096))k /run",
        mend="mount -o remount,size=50% /run",
    ),
]

BREAKERS = [
    *SERVICES,
    *PROGRAMS,
    *KERNEL,
    *MOUNTS,
    *settings.BREAKERS,
    *identity.BREAKERS,
    *network.BREAKERS,
]
