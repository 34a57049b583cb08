"""What should happen in a drill: each victim's and each part's stages. Pure: settings, topology and declaration in.

`predict` knows one dead worker and a Deployment; here are the other owners of pods, several victims, faults that
Kubernetes sees otherwise or not at all, and steps that change the course. Read from kube-controller-manager v1.37.2:

* pkg/controller/podgc: every 20 s it removes what is terminating on a NotReady node with the taint out-of-service, and
  pods of nodes that are gone since 40 s. A pod of a StatefulSet has no successor before that.
* pkg/kubelet/eviction (v1.37.2): the kubelet looks every 10 s whether its node is short of something, frees what it can
  without pods, and then evicts one pod a round.
* pkg/kubelet/kubelet.go (v1.37.2): the runtime must have answered within 30 s, it is asked every 5 s; the node's status
  is sent every `nodeStatusUpdateFrequency`, and the controller taints a node that says not-ready at its next look.
* pkg/kubelet/nodeshutdown (v1.37.2): when systemd-logind announces a shutdown the kubelet says NotReady at once and
  ends its pods, the critical ones last, within `shutdownGracePeriod`; logind waits for it that long.
"""

from __future__ import annotations

from collections.abc import Sequence

from labctl.drill import predict
from labctl.drill.declare import SAID, NodeGoes, PartName, Step
from labctl.drill.model import UNPREDICTED, Band, Prediction, Scene, Settings, Tracked, Victim
from labctl.drill.workload import HIGH

GC_S = 20.0
QUARANTINE_S = 40.0
KUBELET_LOOKS_S = 10.0
ROUNDS = 3
"""until a kubelet has evicted what is to go, an allowance"""
RUNTIME_S = 30.0
RUNTIME_ASKED_S = 5.0
PROOF_S = 5.0
"""until a power-off is proven, an allowance"""
STEP_S = 3.0
"""until a later step has been carried out, an allowance"""
SHUT_DOWN_S = 3.0
"""until the machine has been told to shut down and the kubelet's status has arrived, an allowance"""
ASKED_S = 2.0
"""until pods that are asked to leave at once are leaving, an allowance"""
_NOBODY_ELSE = {
    "bare-pod": "nobody makes a bare Pod again",
    "statefulset": "no second pod of its name may run: it waits for the machine, for the Node to be deleted, or for "
    "the taint out-of-service",
    "daemonset": "its DaemonSet tolerates the taint for ever: it stays bound to the machine",
}


def outlook(settings: Settings, scene: Scene) -> tuple[Prediction, ...]:
    """All stages, in the order in which they should happen."""
    nodes = [stage for victim in scene.victims for stage in _node(settings, scene, victim)]
    parts = [stage for tracked in scene.tracked if tracked.lost for stage in _part(settings, scene, tracked)]
    found = [*nodes, *parts]
    moved = _rebalanced(settings, scene, found)
    service = _and_once_more(settings, _service(settings, scene, found), moved)
    return (*found[:1], service, *found[1:], *_preempted(scene), *_ends(settings, scene), *moved)


def watch_s(settings: Settings, scene: Scene) -> float:
    """How long the fault must last so that what must not happen had its time to happen."""
    ordinary = _ordinary(settings, scene)
    if not scene.drill.steps or scene.goes in ("stays", "any"):
        return predict.detection(settings).max_s
    goes = set(scene.drill.expect.pods.values())
    if scene.goes in ("unreachable", "deleted", *SAID) and goes & {"waits", "pending", "stays", "most-stay"}:
        return ordinary.max_s + scene.topology.start_max_s
    return 0.0


def seen_band(settings: Settings, goes: NodeGoes) -> Band | None:
    """From the fault to NotReady; None where Kubernetes does not notice."""
    if goes in ("unreachable", "deleted"):
        return predict.detection(settings)
    if goes == "not-ready":
        late = settings.status_s + settings.notice_s
        return Band(min_s=RUNTIME_S - RUNTIME_ASKED_S, max_s=RUNTIME_S + 2 * RUNTIME_ASKED_S + late)
    return Band(min_s=0, max_s=SHUT_DOWN_S) if goes == "shuts-down" else None


def _node(settings: Settings, scene: Scene, victim: Victim) -> list[Prediction]:
    seen = seen_band(settings, scene.goes)
    if scene.goes == "any":
        return []
    if seen is None:
        note = "its kubelet's heartbeats arrive: for Kubernetes the node is well"
        return [Prediction(name="not_ready", subject=victim.name, band=None, note=note)]
    tainted, blocked = _tainted(settings, scene, victim.kth)
    if blocked and len(scene.victims) > 1:
        blocked = f"{UNPREDICTED}: the first of them may be tainted before most are NotReady; then: {blocked}"
    return [
        Prediction(name="not_ready", subject=victim.name, band=seen),
        Prediction(name="tainted", subject=victim.name, band=tainted, note="" if tainted else blocked),
    ]


def _tainted(settings: Settings, scene: Scene, kth: int) -> tuple[Band | None, str]:
    seen = seen_band(settings, scene.goes)
    blocked = predict.why_no_taint(settings, scene.topology)
    if seen is None or blocked:
        return None, blocked or "the node is not NotReady"
    if scene.goes in SAID:
        return seen + Band(min_s=0, max_s=settings.monitor_s + settings.queue_s), ""
    return seen + predict.taint_delay(settings, kth), ""


def _part(settings: Settings, scene: Scene, tracked: Tracked) -> list[Prediction]:
    evicted, why = _evicted(settings, scene, tracked)
    found = [Prediction(name="evicted", subject=tracked.part, band=evicted, note="" if evicted else why)]
    if tracked.kind not in ("Pod", "DaemonSet"):
        replaced, note = _replaced(settings, scene, tracked, evicted)
        note = note or ("" if replaced else why)
        found.append(Prediction(name="replaced", subject=tracked.part, band=replaced, note=note))
    return found


def _evicted(settings: Settings, scene: Scene, tracked: Tracked) -> tuple[Band | None, str]:
    """When the last of the part's lost pods is asked to go."""
    if scene.evicts:
        blocked = tracked.part in scene.blocked or tracked.kind == "DaemonSet"
        if blocked:
            return None, "its PodDisruptionBudget allows no disruption"
        is_asked = scene.drill.steps[0].args.get("part", tracked.part) == tracked.part
        return (Band(min_s=0, max_s=ASKED_S), "") if is_asked else (None, "it is not asked to leave")
    if _kubelet_evicts(scene, tracked.part):
        return Band(min_s=0, max_s=ROUNDS * KUBELET_LOOKS_S), ""
    ordinary, why = _ordinarily(settings, scene, tracked)
    if scene.goes == "shuts-down":
        return _sooner(ordinary, Band(min_s=0, max_s=SHUT_DOWN_S + settings.shutdown_s)), ""
    course = _course(settings, scene)
    if course is None or tracked.kind == "DaemonSet":
        return ordinary, why
    step, band = course
    if step.fault == "out-of-service":
        asked = band + Band(min_s=0, max_s=settings.queue_s + settings.notice_s)
    else:
        asked = band + Band(min_s=QUARANTINE_S, max_s=QUARANTINE_S + 2 * GC_S)
    return _sooner(ordinary, asked), ""


def _kubelet_evicts(scene: Scene, part: PartName) -> bool:
    """For want of something on its node, and for nothing else: the declaration says so."""
    expect = scene.drill.expect
    return scene.goes == "stays" and bool(expect.condition) and expect.pods.get(part) == "replaced"


def _ordinarily(settings: Settings, scene: Scene, tracked: Tracked) -> tuple[Band | None, str]:
    tolerated = scene.tolerations.get(tracked.part, settings.toleration_s)
    last = max((victim.kth for victim in scene.victims), default=1)
    tainted, why = _tainted(settings, scene, last)
    if tracked.kind == "DaemonSet" or (tainted and tolerated is None):
        return None, _NOBODY_ELSE["daemonset"] if tracked.kind == "DaemonSet" else "it tolerates the taint for ever"
    if tainted is None or tolerated is None:
        return None, why
    first, _ = _tainted(settings, scene, 1)
    last_one = Band(min_s=(first or tainted).min_s, max_s=tainted.max_s)
    return last_one + Band(min_s=tolerated, max_s=tolerated + settings.notice_s), ""


def _replaced(settings: Settings, scene: Scene, tracked: Tracked, evicted: Band | None) -> tuple[Band | None, str]:
    """When as many of the part's pods are Ready elsewhere as shall be."""
    start = Band(min_s=0, max_s=scene.topology.start_max_s)
    if evicted is None or tracked.kind in ("Pod", "DaemonSet"):
        return None, _NOBODY_ELSE.get(tracked.part, "")
    if not scene.topology.has_room or scene.drill.spread != "wish":
        room = _room_again(scene, evicted)
        if room is None:
            return None, "no other node takes it: the replacement stays Pending"
        return room + start, "Pending until a step lets another node accept pods"
    course = _course(settings, scene)
    # A pod that its kubelet ended has a successor at once, in a StatefulSet too.
    if tracked.kind == "StatefulSet" and not scene.evicts and scene.goes != "shuts-down":
        if course is None:
            return None, _NOBODY_ELSE["statefulset"]
        return _gone(settings, evicted, course) + start, "removed by the pod garbage collector, every 20 s"
    allowed = f"then at most {scene.topology.start_max_s:.0f} s to schedule and start (allowance)"
    return evicted + start, f"the pod's own toleration, {allowed}" if course is None and not scene.evicts else allowed


def _room_again(scene: Scene, evicted: Band) -> Band | None:
    """When a step lets a node accept pods again, if one does."""
    for step in scene.drill.steps:
        if step.undo and step.fault == "cordon" and step.when == "evicted":
            return evicted + Band(min_s=step.after_s, max_s=step.after_s + STEP_S)
    return None


def _gone(settings: Settings, evicted: Band, course: tuple[Step, Band]) -> Band:
    """When a pod that is leaving is removed, though its kubelet does not confirm it."""
    step, band = course
    if step.fault == "node-delete":
        return band + Band(min_s=QUARANTINE_S, max_s=QUARANTINE_S + 2 * GC_S)
    seen = predict.detection(settings)
    both = Band(min_s=max(seen.min_s, evicted.min_s), max_s=max(seen.max_s, evicted.max_s))
    return both + Band(min_s=0, max_s=GC_S + settings.notice_s)


def _course(settings: Settings, scene: Scene) -> tuple[Step, Band] | None:
    """The later step that changes what becomes of the pods, and when it comes."""
    for step in scene.drill.steps[1:]:
        if step.fault in ("out-of-service", "node-delete") and not step.undo:
            return step, _moment(settings, scene, step)
    return None


def _moment(settings: Settings, scene: Scene, step: Step) -> Band:
    start = Band(min_s=0, max_s=PROOF_S)
    if step.when == "not_ready":
        start = seen_band(settings, scene.goes) or start
    elif step.when is None:
        start = Band(min_s=0, max_s=0)
    return start + Band(min_s=step.after_s, max_s=step.after_s + STEP_S)


def _sooner(one: Band | None, other: Band) -> Band:
    if one is None:
        return other
    return Band(min_s=min(one.min_s, other.min_s), max_s=min(one.max_s, other.max_s))


def _ordinary(settings: Settings, scene: Scene) -> Band:
    """When pods would be evicted if nothing stood in the way."""
    seen = seen_band(settings, scene.goes) or predict.detection(settings)
    last = max((victim.kth for victim in scene.victims), default=1)
    tolerated = settings.toleration_s or 0.0
    return seen + predict.taint_delay(settings, last) + Band(min_s=tolerated, max_s=tolerated + settings.notice_s)


def _service(settings: Settings, scene: Scene, found: Sequence[Prediction]) -> Prediction:
    """When new connections through a survivor all succeed again."""
    stages = {(p.name, p.subject): p for p in found}
    seen = seen_band(settings, scene.goes)
    replaced = stages.get(("replaced", "deployment"))
    stuck = replaced.note if replaced and replaced.band is None else ""
    if scene.keeps_serving and not scene.evicts:
        latest, note = settings.proxy_s, "its pods serve on until they are taken out of the Service"
        if not scene.drill.expect.api_answers:
            note = "nobody decides anything meanwhile, and what runs runs on"
        elif _kubelet_evicts(scene, "deployment") and replaced and replaced.band:
            latest, note = latest + replaced.band.max_s, "pods that are evicted are taken out"
        return Prediction(name="service_restored", band=Band(min_s=0, max_s=latest), note=note)
    if scene.drill.expect.service == "any" or scene.goes == "any":
        return Prediction(name="service_restored", band=None, note=UNPREDICTED)
    if scene.evicts or scene.goes == "shuts-down":
        gone = ASKED_S if scene.evicts else SHUT_DOWN_S + settings.shutdown_s
        again = 0 if scene.topology.replicas_elsewhere > 0 else scene.topology.start_max_s
        band = Band(min_s=0, max_s=gone + again + settings.proxy_s)
        return Prediction(name="service_restored", band=band, note="pods that leave are taken out")
    if seen is None:
        return Prediction(
            name="service_restored", band=None, note="Kubernetes does not notice, so nothing is taken out"
        )
    course = _course(settings, scene)
    if course and course[0].fault == "out-of-service" and scene.topology.replicas_elsewhere > 0:
        asked = course[1] + Band(min_s=0, max_s=settings.queue_s + settings.notice_s + settings.proxy_s)
        note = "pods that are asked to leave are taken out at once"
        return Prediction(name="service_restored", band=asked, note=note)
    return predict.service(settings, seen, replaced.band if replaced else None, scene.topology, stuck)


def _preempted(scene: Scene) -> list[Prediction]:
    """When the pod of high priority has its room, and runs."""
    if not scene.drill.expect.preempts:
        return []
    band = Band(min_s=0, max_s=ASKED_S + scene.topology.start_max_s)
    note = "one of low priority ends, then it is bound and starts (allowance)"
    return [Prediction(name="preempted", subject=HIGH, band=band, note=note)]


def _rebalanced(settings: Settings, scene: Scene, found: Sequence[Prediction]) -> list[Prediction]:
    """When a machine that returned has pods again: after each step, and the return, had its turn."""
    replaced = next((p.band for p in found if (p.name, p.subject) == ("replaced", "deployment")), None)
    if not scene.drill.expect.rebalances or replaced is None:
        return []
    steps = scene.drill.steps[1:]
    band = replaced + Band(min_s=0, max_s=settings.return_s + ASKED_S + scene.topology.start_max_s)
    for step in steps:
        band += Band(min_s=step.after_s, max_s=step.after_s + STEP_S)
    note = "with the return, which is an allowance"
    return [Prediction(name="rebalanced", subject="deployment", band=band, note=note)]


def _and_once_more(settings: Settings, service: Prediction, moved: Sequence[Prediction]) -> Prediction:
    """With what clients lose when running pods are evicted: requests to them, until kube-proxy knows."""
    last = max((p.band.max_s for p in moved if p.band), default=0.0)
    if not service.band or not last:
        return service
    band = Band(min_s=service.band.min_s, max_s=last + settings.proxy_s)
    return service.model_copy(update={"band": band, "note": "and once more when the descheduler evicts running pods"})


def _ends(settings: Settings, scene: Scene) -> list[Prediction]:
    if scene.goes not in ("unreachable", "deleted", *SAID):
        return []
    note = f"counted from the heal; at most {settings.return_s:.0f} s (allowance)"
    band = Band(min_s=0, max_s=settings.return_s)
    return [Prediction(name="returned", subject=v.name, band=band, since="heal", note=note) for v in scene.victims]
