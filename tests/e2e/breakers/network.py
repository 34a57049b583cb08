"""Against a node's part of the pod network."""

from __future__ import annotations

from tests.e2e.breakers.breaker import Breaker, breaks

CONFIGURATION = "/etc/cni/net.d/10-labctl.conflist"
MAP = "ip kube-proxy service-ips"
API = f"$(nft list map {MAP} | grep -o '[0-9.]*[.]1 [.] tcp [.] 443 : goto [^ ,]*')"

BREAKERS = [
    # What is in force is the copy in /etc/cni/net.d; pods that are there keep what they have.
    Breaker(
        breaks("CLUSTER-042"),
        on="worker-1",
        harm=f'cp {CONFIGURATION} /run/breaker && sed \'s|"mtu": .*,|"mtu": 65000,|\' /run/breaker > {CONFIGURATION}',
        mend=f"cat /run/breaker > {CONFIGURATION}",
    ),
    # Two machines that do not hear each other: one of them drops the other's echo requests.
    Breaker(
        breaks("CLUSTER-042"),
        on="worker-1",
        harm="nft 'table ip breaker_042 { chain harm { type filter hook input priority filter; "
        "ip saddr '$(ip route show 10.244.2.0/24 | cut -d ' ' -f 3)' icmp type echo-request drop; }; }'",
        mend="nft delete table ip breaker_042",
    ),
    Breaker(
        breaks("NODE-043"),
        on="worker-1",
        harm="echo '{}' > /etc/cni/net.d/99-breaker.conflist",
        mend="rm /etc/cni/net.d/99-breaker.conflist",
    ),
    Breaker(
        breaks("NODE-044"),
        on="worker-1",
        harm="mv /opt/cni/bin/portmap /opt/cni/portmap.away",
        mend="mv /opt/cni/portmap.away /opt/cni/bin/portmap",
    ),
    Breaker(
        breaks("NODE-045"),
        on="worker-1",
        harm=f"cp {CONFIGURATION} /run/breaker && "
        f'sed \'s|"subnet": ".*"|"subnet": "192.0.2.0/24"|\' /run/breaker > {CONFIGURATION}',
        mend=f"cat /run/breaker > {CONFIGURATION}",
    ),
    # A more exact way than ours leads to where the machine would go anyhow: nothing else suffers.
    Breaker(
        breaks("NODE-046"),
        on="worker-1",
        harm="ip route add 10.244.0.0/25 $(ip route show 10.244.0.0/24 | cut -d ' ' -f 2,3)",
        mend="ip route del 10.244.0.0/25",
    ),
    # The way is there, in two halves that nobody asked for.
    Breaker(
        breaks("NODE-046"),
        on="worker-1",
        harm="via=$(ip route show 10.244.0.0/24 | cut -d ' ' -f 2,3) && ip route add 10.244.0.0/25 $via && "
        "ip route add 10.244.0.128/25 $via && ip route del 10.244.0.0/24",
        mend="systemctl restart labctl-network && ip route del 10.244.0.0/25 && ip route del 10.244.0.128/25",
    ),
    Breaker(
        breaks("NODE-047", "CLUSTER-020"),
        on="worker-1",
        harm="ip route show default > /run/breaker && ip route delete default",
        mend="ip route add $(cat /run/breaker)",
    ),
    Breaker(
        breaks("NODE-048"),
        on="worker-1",
        harm="nft delete table ip labctl",
        mend="systemctl restart labctl-network",
    ),
    Breaker(
        breaks("NODE-049", "CLUSTER-019"),
        on="worker-1",
        harm=f'echo "{API}" > /run/breaker && [ -s /run/breaker ] && '
        f"nft delete element {MAP} \"{{ $(sed 's/ : .*//' /run/breaker) }}\"",
        mend=f'nft add element {MAP} "{{ $(cat /run/breaker) }}"',
    ),
    Breaker(
        breaks("NODE-050"),
        on="worker-1",
        harm="systemd-run --collect --unit=breaker socat TCP-LISTEN:18080,fork /dev/null; "
        "until ss -tlnH | grep -q :18080; do sleep 0.1; done",
        mend="systemctl stop breaker",
    ),
]
