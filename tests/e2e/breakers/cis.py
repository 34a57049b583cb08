"""Against the items of the CIS Kubernetes Benchmark."""

from __future__ import annotations

from tests.e2e.breakers.breaker import Breaker

BREAKERS: list[Breaker] = []
