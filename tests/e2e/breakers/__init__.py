"""For each check of `labctl verify` a way to break a lab that it must notice, and the way back."""

from __future__ import annotations

from tests.e2e.breakers import cis, cluster, cluster_deep, nodes

BREAKERS = [*nodes.BREAKERS, *cis.BREAKERS, *cluster.BREAKERS, *cluster_deep.BREAKERS]
