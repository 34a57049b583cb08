"""What the cluster says of its nodes."""

from __future__ import annotations

from labctl.verify import Expect, check
from labctl.verify.cluster import Cluster


@check(
    "CLUSTER-001",
    "every machine is a node, and Ready",
    why="A node that is missing or NotReady runs no pods: the lab has less room and less redundancy than it seems.",
    fix="labctl kubectl -- describe node NAME says why; labctl up makes a missing one join",
)
def test_nodes_are_ready(cluster: Cluster, expect: Expect) -> None:
    ready = {}
    for node in cluster.get("nodes")["items"]:
        conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
        ready[node["metadata"]["name"]] = conditions.get("Ready")
    expect("Ready", dict.fromkeys(sorted(cluster.nodes), "True"), dict(sorted(ready.items())))
