"""Against tests/nodes."""

from __future__ import annotations

from tests.e2e.breakers.breaker import Breaker, breaks

BREAKERS = [
    Breaker(
        breaks("NODE-001"),
        on="worker-1",
        harm="systemctl disable containerd",
        mend="systemctl enable containerd",
    ),
]
