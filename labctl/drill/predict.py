"""When a dead worker's stages should happen: settings and topology in, bands out. Pure.

Read from the sources of kube-controller-manager v1.37.2 (pkg/controller/nodelifecycle, pkg/controller/tainteviction):

* The controller looks every M (`monitor_s`). It keeps *its own* time of the look that first showed a renewed lease (or
  a newer Ready heartbeat), and marks the node at the first look later than that time + G (`grace_s`).
* The last renewal was at most L x 1.04 (the kubelet renews every L = `renew_s`, with 4 % jitter) before the fault,
  and it was seen at most M after it was made. Status updates count as heartbeats too; they can only make the last sign
  of life younger, so they narrow the band and never widen it. Hence detection within [G - 1.04 L, G + M], where G is
  rounded up to a multiple of M.
* The looks are M apart *plus* what a look takes (`LOOK_S`), the mark is a write to the API, and a watch brings it to
  labctl (`Settings.notice_s`). Both are declared allowances at the upper end, not derived.
* The taint is put on by a queue that is looked at every 0.1 s. Up to 1.36 a node enters it one look (M) later; from
  1.37 in the same look. There the queue may be faster than the controller's own cache: it then drops the node, having
  spent the one token of --node-eviction-rate, and the taint waits for the next token (`late_taint`).
* The k-th node that is dead waits (k - 1) / rate. In partial disruption of a small zone the rate is 0.
* The pod is deleted when its own toleration has run out.
* `replaced`, `service_restored` and `returned` end with declared allowances: how long a pod takes to start was measured
  in this lab just before; kube-proxy writes at most once a second; a machine's boot depends on what it is.
"""

from __future__ import annotations

import math

from labctl.drill.model import Band, Prediction, Settings, Topology

LEASE_JITTER = 0.04
LOOK_S = 0.01
"""what a look takes; the next one comes M after its end"""

_SAME_LOOK_SINCE = 37


def detection(settings: Settings) -> Band:
    """From the last sign of life to NotReady as labctl sees it."""
    oldest = settings.renew_s * (1 + LEASE_JITTER)
    grace, period = settings.grace_s, settings.monitor_s
    fewest = math.ceil(round(grace / (period + LOOK_S), 6))
    most = math.ceil(round(grace / period, 6))
    return Band(
        min_s=max(0.0, max(grace, fewest * period) - oldest),
        max_s=most * period + period + most * LOOK_S + settings.notice_s,
    )


def taint_delay(settings: Settings, kth: int = 1) -> Band:
    """From NotReady to the NoExecute taint."""
    look = 0.0 if settings.minor >= _SAME_LOOK_SINCE else settings.monitor_s
    rate = (kth - 1) / settings.eviction_rate if kth > 1 else 0.0
    return Band(min_s=max(0.0, look - settings.queue_s) + rate, max_s=look + rate + settings.queue_s)


def late_taint(settings: Settings) -> Band | None:
    """Seconds after the fault of a taint that lost its first token, or None where that cannot be."""
    if settings.minor < _SAME_LOOK_SINCE or settings.eviction_rate <= 0:
        return None
    wait = max(settings.monitor_s, 1 / settings.eviction_rate)
    return detection(settings) + Band(min_s=wait - settings.queue_s, max_s=wait + settings.monitor_s + settings.queue_s)


def why_no_taint(settings: Settings, topology: Topology) -> str:
    """Why the dead node is not tainted, or nothing."""
    dead, total = topology.nodes_dead, topology.nodes_dead + topology.nodes_ready
    if topology.nodes_ready == 0 and topology.ready_in_other_zones == 0:
        return "full disruption: no node is Ready, so the controller stops evicting"
    is_partial = topology.nodes_ready > 0 and dead > 2 and dead / total >= settings.unhealthy_threshold  # noqa: PLR2004 - ComputeZoneState
    if is_partial and (total <= settings.large_cluster or settings.secondary_eviction_rate <= 0):
        return f"partial disruption: {dead} of {total} nodes are NotReady, so the eviction rate is 0"
    if settings.eviction_rate <= 0:
        return "--node-eviction-rate is 0"
    return ""


def predict(settings: Settings, topology: Topology) -> tuple[Prediction, ...]:
    """The bands of all stages, in the order of `StageName`."""
    seen = detection(settings)
    blocked = why_no_taint(settings, topology)
    tainted = None if blocked else seen + taint_delay(settings, topology.kth)
    tolerated = settings.toleration_s
    blocked = blocked or ("the pods tolerate the taint for ever" if tolerated is None else "")
    evicted = (
        tainted + Band(min_s=tolerated, max_s=tolerated + settings.notice_s)
        if tainted and tolerated is not None
        else None
    )
    stuck = blocked or ("" if topology.has_room else "no other node accepts pods: the replacement stays Pending")
    start = Band(min_s=0, max_s=topology.start_max_s)
    replaced = evicted + start if evicted and topology.has_room else None
    started = f"the pod's own toleration, then at most {topology.start_max_s:.0f} s to schedule and start (allowance)"
    return (
        Prediction(name="not_ready", band=seen),
        service(settings, seen, replaced, topology, stuck),
        Prediction(name="tainted", band=tainted, note="" if tainted else blocked),
        Prediction(name="evicted", band=evicted, note=blocked),
        Prediction(name="replaced", band=replaced, note=stuck or started),
        Prediction(
            name="returned",
            band=Band(min_s=0, max_s=settings.return_s),
            since="heal",
            note=f"counted from the heal; at most {settings.return_s:.0f} s (allowance)",
        ),
    )


def service(settings: Settings, seen: Band, replaced: Band | None, topology: Topology, stuck: str) -> Prediction:
    """When new connections through a survivor all succeed again."""
    if topology.keeps_serving:
        note = "its pods serve on until they are taken out of the Service"
        return Prediction(name="service_restored", band=Band(min_s=0, max_s=settings.proxy_s), note=note)
    if topology.replicas_elsewhere > 0:
        band = Band(min_s=max(0.0, seen.min_s - settings.early_s), max_s=seen.max_s + settings.proxy_s)
        return Prediction(name="service_restored", band=band, note="a replica elsewhere takes over at NotReady")
    if replaced is None:
        return Prediction(name="service_restored", band=None, note=stuck)
    band = replaced + Band(min_s=0, max_s=settings.proxy_s)
    return Prediction(name="service_restored", band=band, note="no replica elsewhere: waits for the replacement")
