"""What findings about nodes and pods come from, and what would change them. Pure."""

from __future__ import annotations

from collections.abc import Callable

from labctl.drill.advice import Remedy, Said, again
from labctl.drill.declare import NAMESPACE
from labctl.drill.descheduler import NAME
from labctl.drill.model import Settings
from labctl.drill.otherwise import TIMINGS
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Finding
from labctl.errors import command_for


def _node(timeline: Timeline, finding: Finding) -> Said:
    settings = timeline.plan.settings
    if finding.topic != "false-alarm":
        why = "its heartbeats still arrived, or the fault ended before the grace period did"
        return why, f"a fault that lasts longer than --node-monitor-grace-period={settings.grace_s:g}s", ""
    why = f"no heartbeat arrived for {settings.grace_s:g} s: a false alarm if the machine was well all the time"
    slower = _slower(settings)
    if not slower:
        return why, f"--node-monitor-grace-period above {settings.grace_s:g}s, or more CPU for that machine", ""
    figures = TIMINGS[slower]
    change = f"timing: {slower}, which is --node-monitor-grace-period={figures['grace_s']:g}s; or more CPU for it"
    return why, change, f"heartbeats may be late by {_slack(figures)} s instead of {_slack_now(settings)} s"


def _slower(settings: Settings) -> str:
    """The next timing that is more patient than this one."""
    return next((n for n in ("fast", "default") if TIMINGS[n]["grace_s"] > settings.grace_s), "")


def _slack(figures: dict[str, float]) -> str:
    return f"{figures['grace_s'] - figures['lease_s'] / 4:g}"


def _slack_now(settings: Settings) -> str:
    return f"{settings.grace_s - settings.renew_s:g}"


def _returned(timeline: Timeline, finding: Finding) -> Said:
    if finding.topic == "moved-back":
        why = "something outside of Kubernetes' own controllers moves pods: a descheduler, an autoscaler, a person"
        return why, "look for it in the audit log; Kubernetes itself leaves running pods where they are", ""
    lab = timeline.plan.lab
    why = "the machine is on, and its kubelet does not report: it did not start, or cannot reach the API server"
    return why, f"{command_for(lab, 'recover')} tries again; {command_for(lab, 'logs')} has what its kubelet says", ""


def _condition(timeline: Timeline, _: Finding) -> Said:
    wanted = timeline.plan.drill.expect.condition
    why = f"the kubelet did not find its resource short: {wanted} comes with its own threshold"
    return why, "the kubelet's evictionHard (and evictionPressureTransitionPeriod), or a stronger fault", ""


def _pods(timeline: Timeline, finding: Finding) -> Said:
    return _PODS[finding.topic](timeline, finding.subject)


def _not_replaced(timeline: Timeline, part: str) -> Said:
    if ("evicted", part) not in timeline.marks:
        return _not_evicted(timeline, part)
    why = "its pods were asked to go, and no other one was Ready in time: no node had room, or they start too slowly"
    change = "one worker more than the load needs; smaller requests; whenUnsatisfiable: ScheduleAnyway; the image there"
    return why, change, ""


def _not_evicted(timeline: Timeline, part: str) -> Said:
    tolerated = timeline.plan.scene.tolerations.get(part, timeline.plan.settings.toleration_s)
    if not timeline.has("not_ready"):
        why = "Kubernetes never knew that the machine was gone, so it moved nothing"
        return why, "what the node finding says; until then nothing else helps", ""
    if not timeline.has("tainted"):
        why = "the node was NotReady and got no NoExecute taint: the controller does not evict now"
        return why, "--node-eviction-rate, --unhealthy-zone-threshold; zone labels, if most of a zone was dead", ""
    if tolerated is None:
        return "it tolerates the taint for ever", "tolerationSeconds of the pod, such as 30", ""
    why = f"its pods tolerate the taint for {tolerated:g} s: until then nobody asks them to go"
    return why, f"tolerationSeconds below {tolerated:g} in the pod, or --default-unreachable-toleration-seconds", ""


def _should_stay(timeline: Timeline, part: str) -> Said:
    tolerated = timeline.plan.scene.tolerations.get(part, timeline.plan.settings.toleration_s)
    why = "evictions for a taint ask no PodDisruptionBudget: only the pod's own toleration holds it"
    if timeline.plan.scene.evicts:
        why = "whoever drains asks the PodDisruptionBudget, and it allowed this"
        return why, "a PodDisruptionBudget with minAvailable as high as the replicas", ""
    seconds = "for ever" if tolerated is None else f"{tolerated:g} s"
    return why, f"tolerationSeconds longer than the outage that it shall survive (now {seconds})", ""


def _came_back(_: Timeline, __: str) -> Said:
    return "something made it again", "look who: metadata.ownerReferences, a static manifest, or an operator", ""


def _replaced_early(_: Timeline, __: str) -> Said:
    why = "a second pod was made although the first may still run: its owner is no StatefulSet, or somebody forced it"
    return why, "no kubectl delete --force while the machine may live; a StatefulSet if two must never run", ""


def _no_successor(_: Timeline, __: str) -> Said:
    return "its owner made no new pod", "a Deployment, or another owner that makes pods anew", ""


def _not_restarted(_: Timeline, __: str) -> Said:
    why = "the containers were not started again in place, or not counted before the run ended"
    return why, "restartPolicy: Always; a longer hold_s in the drill's file", ""


def _too_few(_: Timeline, __: str) -> Said:
    return "its owner had not yet made, or could not place, as many as it wants", "a longer hold_s; room on a node", ""


def _not_seen(_: Timeline, __: str) -> Said:
    why = "the run has no evidence of it: the pods were not listed, or none was on the machine that was hit"
    return why, "run it again; more replicas, so that a victim carries one of them", ""


_PODS: dict[str, Callable[[Timeline, str], Said]] = {
    "not-replaced": _not_replaced,
    "not-evicted": _not_evicted,
    "did-not-stay": _should_stay,
    "came-back": _came_back,
    "replaced-early": _replaced_early,
    "no-successor": _no_successor,
    "not-restarted": _not_restarted,
    "too-few": _too_few,
    "not-seen": _not_seen,
}


def _preempts(_: Timeline, __: Finding) -> Said:
    why = "priority alone decides who goes; a node that got room meanwhile needs nobody to go"
    return why, "priorityClassName of the pods; preemptionPolicy of the class; run it again on a quiet lab", ""


def _rebalances(timeline: Timeline, finding: Finding) -> Said:
    if finding.topic == "moved":
        why = "the scheduler places each pod once; nothing in Kubernetes moves one that runs"
        return why, "the descheduler as a CronJob, or kubectl rollout restart, after a machine came back", ""
    if finding.topic == "too-early":
        why = "somebody else evicted or deleted a pod, and the scheduler chose the emptier node"
        return why, "another descheduler, an autoscaler or a rollout: the events name who", ""
    why = "the descheduler evicts only what has an owner, fits elsewhere, and whose budget allows it"
    log = command_for(timeline.plan.lab, f"kubectl -- -n {NAMESPACE} logs job/{NAME}")
    return why, f"while the drill runs, its log: {log}", ""


def _untouched(timeline: Timeline, finding: Finding) -> Said:
    if finding.topic == "restarted":
        why = "a container ended on a machine that was well: killed for memory, or by an impatient liveness probe"
        return why, "a higher memory limit; livenessProbe: timeoutSeconds, failureThreshold; more CPU", ""
    if finding.topic == "gone":
        why = "somebody else removed it: a descheduler, a rollout, memory pressure, preemption"
        return why, "requests as large as what it uses; a PriorityClass; a PodDisruptionBudget against drains", ""
    return "the pods were not listed at the end", again(timeline), ""


def _strangers(_: Timeline, __: Finding) -> Said:
    return "a bare Pod has no owner that would make it again", "make it a Deployment", ""


REMEDIES: dict[str, Remedy] = {
    "node": _node,
    "pods": _pods,
    "condition": _condition,
    "preempts": _preempts,
    "rebalances": _rebalances,
    "untouched": _untouched,
    "returned": _returned,
    "strangers": _strangers,
}
