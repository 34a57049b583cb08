"""Where a kubeadm lab is otherwise than the CIS Kubernetes Benchmark asks, and why it stays so, by number."""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {
    "CIS-1.2.1": "kubelets ask without a name whether the API server lives, and machines that join ask what the "
    "cluster is; the file of --authentication-config lets them through to these addresses, and to no others",
    "CIS-1.2.11": "a lab's images are on its nodes, no registry has them: with AlwaysPullImages no pod would start",
    "CIS-4.1.3": "the file is a key of a ConfigMap that kubeadm mounts so; it names a token and holds none, and the "
    "folders around it let nobody but root pass",
}
CALLED_OTHERWISE = (
    "the inventory calls the machine otherwise than the machine calls itself, and a node has the inventory's name"
)
"""CIS-4.2.7, on machines that labctl did not make: it renames none."""
