"""Against tests/cluster."""

from __future__ import annotations

from tests.e2e.breakers.breaker import KUBECTL, Breaker, breaks

BREAKERS = [
    Breaker(
        breaks("CLUSTER-001", "NODE-001"),
        on="worker-1",
        harm="systemctl stop kubelet",
        mend="systemctl start kubelet",
        felt=f"{KUBECTL} get nodes | grep -q NotReady",
        well=f"! {KUBECTL} get nodes | grep -q NotReady",
    ),
]
