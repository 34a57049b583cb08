"""The Kubernetes API. `client` alone imports the kubernetes library, and only when a `Kube` is made.

::

    objects   what labctl knows of a node, a pod ...: frozen values, made from JSON (pure)
    client    requests and watch streams (kubeconfig, TLS, errors)
    watch     a watch in a thread: every event stamped on receipt, every gap reported
    marks     labels and taints that labctl keeps on nodes
    cluster   `Kube`: what the rest of labctl calls
"""

from labctl.kube.client import ApiError, ApiUnavailableError
from labctl.kube.cluster import Kube
from labctl.kube.marks import Marks
from labctl.kube.objects import Condition, Endpoint, EndpointSlice, KubeEvent, Node, Pod, Taint
from labctl.kube.watch import Gap, Watch, WatchEvent

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "Condition",
    "Endpoint",
    "EndpointSlice",
    "Gap",
    "Kube",
    "KubeEvent",
    "Marks",
    "Node",
    "Pod",
    "Taint",
    "Watch",
    "WatchEvent",
]
