"""What each finding comes from, and what would change it: a flag, a replica, a toleration, a budget, or a look. Pure.

Where the prediction can say what a change would bring, it is computed with the same function as the prediction itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labctl.drill.advice import advice, effect
from labctl.drill.declare import NAMESPACE
from labctl.drill.descheduler import NAME
from labctl.drill.measure import during_fault, stages
from labctl.drill.model import Advice, Finding, Settings
from labctl.drill.otherwise import TIMINGS, changed, with_timing
from labctl.drill.timeline import Timeline
from labctl.errors import command_for

Said = tuple[str, str, str]
"""why, what to change, what would be predicted then"""
Remedy = Callable[[Timeline, Finding], Said]
_RECOVERED = ("service_restored", "replaced")


def remedies(timeline: Timeline, findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """For each finding its advice, the same for several once; then what follows from the plan."""
    said: dict[Said, list[int]] = {}
    for place, finding in enumerate(findings):
        said.setdefault(_remedy(timeline, finding), []).append(place)
    found = [Advice(why=w, change=c, effect=e, findings=tuple(places)) for (w, c, e), places in said.items() if c]
    if not timeline.proven:
        return tuple(found)
    known = {item.change for item in found}
    general = [item for item in (*advice(timeline.plan), *_clients(timeline)) if item.change not in known]
    return (*found, *general)


def _remedy(timeline: Timeline, finding: Finding) -> Said:
    if "the check crashed" in finding.text:
        return "a bug in labctl: what it looks at is not judged", "report it with plan.json and history.jsonl", ""
    rule = REMEDIES.get(finding.check)
    try:
        return rule(timeline, finding) if rule else ("", "", "")
    except Exception as error:  # noqa: BLE001 - a bug in advice must not cost the verdict
        return f"a bug in labctl: {error!r}", "report it with plan.json and history.jsonl", ""


def _again(timeline: Timeline) -> str:
    drill = timeline.plan.drill.name
    return f"{command_for(timeline.plan.lab, 'drill', drill)} once more"


# -- whether the run says anything


def _injected(timeline: Timeline, finding: Finding) -> Said:
    lab = timeline.plan.lab
    if finding.level == "fail":
        why = "a later step waits for a stage, and that stage did not come"
        return why, "in the drill's file: after_s (seconds) instead of when, or a longer margin_s", ""
    why = "without proof that the fault happened, nothing that was measured says anything of Kubernetes"
    return why, f"{command_for(lab, 'recover')} makes sure that the lab is whole; then {_again(timeline)}", ""


def _complete(timeline: Timeline, finding: Finding) -> Said:
    if finding.text.startswith("cut short"):
        why = "the run ended early, so what did not happen may merely not have been waited for"
        return why, _again(timeline), ""
    if finding.level == "flag":
        why = (
            "the watch was resumed with a new list; no check needs what may lie between, or the drill took the API away"
        )
        return why, "nothing; more CPU for the control plane, if it happens often", ""
    why = "the API server, or the way to it, was away for so long: labctl did not see what happened meanwhile"
    return why, "more CPU for the control plane; if the drill takes the API away on purpose: api_answers: false", ""


def _steady(timeline: Timeline, _: Finding) -> Said:
    why = "the Service did not answer reliably before anything was done to it: a busy host, or pods that are not well"
    control = command_for(timeline.plan.lab, "drill", "control")
    return why, f"{control} shows the noise of this host; fewer machines, or more CPUs for them", ""


def _requests(_: Timeline, __: Finding) -> Said:
    why = "this host could not send in time, so the clients' failures are its own as well"
    return why, "fewer other programs on this host, or a lower rate of the stream in the drill's file", ""


def _recovery(timeline: Timeline, _: Finding) -> Said:
    return (
        "the fault could not be undone as a whole",
        f"{command_for(timeline.plan.lab, 'recover')} goes on from there",
        "",
    )


# -- nodes


def _node(timeline: Timeline, finding: Finding) -> Said:
    settings = timeline.plan.settings
    if "should have stayed" not in finding.text:
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
    if finding.text.startswith("moved back"):
        why = "something outside of Kubernetes' own controllers moves pods: a descheduler, an autoscaler, a person"
        return why, "look for it in the audit log; Kubernetes itself leaves running pods where they are", ""
    lab = timeline.plan.lab
    why = "the machine is on, and its kubelet does not report: it did not start, or cannot reach the API server"
    return why, f"{command_for(lab, 'recover')} tries again; {command_for(lab, 'logs')} has what its kubelet says", ""


def _condition(timeline: Timeline, _: Finding) -> Said:
    wanted = timeline.plan.drill.expect.condition
    why = f"the kubelet did not find its resource short: {wanted} comes with its own threshold"
    return why, "the kubelet's evictionHard (and evictionPressureTransitionPeriod), or a stronger fault", ""


# -- pods


def _pods(timeline: Timeline, finding: Finding) -> Said:
    text, part = finding.text, finding.text.partition(":")[0]
    for words, rule in _PODS.items():
        if words in text:
            return rule(timeline, part)
    return "", "", ""


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
    "did not come back": _not_replaced,
    "not evicted": _not_evicted,
    "should stay": _should_stay,
    "should have stayed": _should_stay,
    "it came back": _came_back,
    "it was replaced": _replaced_early,
    "no successor": _no_successor,
    "restarted": _not_restarted,
    "Ready at the end": _too_few,
    "not listed": _not_seen,
    "was on a victim": _not_seen,
}


def _preempts(_: Timeline, __: Finding) -> Said:
    why = "priority alone decides who goes; a node that got room meanwhile needs nobody to go"
    return why, "priorityClassName of the pods; preemptionPolicy of the class; run it again on a quiet lab", ""


def _rebalances(timeline: Timeline, finding: Finding) -> Said:
    if finding.level == "info":
        why = "the scheduler places each pod once; nothing in Kubernetes moves one that runs"
        return why, "the descheduler as a CronJob, or kubectl rollout restart, after a machine came back", ""
    if "before the descheduler" in finding.text:
        why = "somebody else evicted or deleted a pod, and the scheduler chose the emptier node"
        return why, "another descheduler, an autoscaler or a rollout: the events name who", ""
    why = "the descheduler evicts only what has an owner, fits elsewhere, and whose budget allows it"
    log = command_for(timeline.plan.lab, f"kubectl -- -n {NAMESPACE} logs job/{NAME}")
    return why, f"while the drill runs, its log: {log}", ""


def _untouched(timeline: Timeline, finding: Finding) -> Said:
    if "restarted" in finding.text:
        why = "a container ended on a machine that was well: killed for memory, or by an impatient liveness probe"
        return why, "a higher memory limit; livenessProbe: timeoutSeconds, failureThreshold; more CPU", ""
    if "gone" in finding.text:
        why = "somebody else removed it: a descheduler, a rollout, memory pressure, preemption"
        return why, "requests as large as what it uses; a PriorityClass; a PodDisruptionBudget against drains", ""
    return "the pods were not listed at the end", _again(timeline), ""


def _strangers(_: Timeline, __: Finding) -> Said:
    return "a bare Pod has no owner that would make it again", "make it a Deployment", ""


# -- clients


def _service(timeline: Timeline, finding: Finding) -> Said:
    plan = timeline.plan
    if "sent nothing" in finding.text or "could not be sent" in finding.text:
        return _unsent(timeline, finding)
    if "should be down" in finding.text:
        return "an endpoint still answered", "look at the EndpointSlices: which pod was it, and on which machine", ""
    if "none should have" in finding.text and plan.scene.evicts:
        why = "a pod stopped before every node had taken it out of the Service"
        return (
            why,
            "lifecycle.preStop.sleep of 5 s, readinessProbe, and a PodDisruptionBudget with maxUnavailable: 1",
            "",
        )
    if "none should have" in finding.text:
        why = "the Service lost requests although nothing should have been wrong with it"
        return why, f"{command_for(plan.lab, 'drill', 'control')} tells this host's own noise from the fault's", ""
    whole = next((s.measured_s for s in stages(timeline) if s.name == "service_restored"), None)
    if whole is not None:
        why = f"it was whole {whole:.1f} s after the fault, and the fault ended before that could be called lasting"
        return why, "a longer hold_s in the drill's file", ""
    deployment = plan.part("deployment")
    wanted = deployment.wanted if deployment else plan.drill.replicas
    why = "the Service had no pod that answered, or its endpoints still had one that did not"
    change = f"replicas: {wanted + 1}, with topologySpreadConstraints over kubernetes.io/hostname; a readinessProbe"
    better = plan.scene.topology.model_copy(update={"replicas_elsewhere": plan.scene.topology.replicas_elsewhere + 1})
    scene = plan.scene.model_copy(update={"topology": better})
    return why, change, effect(plan, plan.settings, scene, "service_restored")


def _unsent(timeline: Timeline, finding: Finding) -> Said:
    if "could not be sent" in finding.text:
        return _requests(timeline, finding)
    return "there is no evidence of it: the probe was not running", _again(timeline), ""


def _noticed(_: Timeline, __: Finding) -> Said:
    why = "no request met the fault: this path of the clients does not lead through it"
    return why, "noticed_by: another stream; more replicas on the victims; a longer hold_s", ""


def _thresholds(timeline: Timeline, finding: Finding) -> Said:
    plan = timeline.plan
    limit = plan.drill.recovered_within_s
    if not finding.text.startswith("not recovered") or limit is None:
        why = "until the node is NotReady, its pods' share of new connections meets a dead address"
        return (
            why,
            "timing: fast, for an earlier NotReady; more replicas, for a smaller share; clients that try again",
            "",
        )
    why = f"the settings and what runs allow more than {limit:g} s"
    kept = [name for name in ("default", "fast", "drill") if _keeps(timeline, name, limit)]
    if not kept:
        change = (
            "no timing alone is enough: replicas elsewhere, or the taint out-of-service as soon as the machine is off"
        )
        return why, change, ""
    settings, scene = changed(plan, kept[0])
    effects = [effect(plan, settings, scene, name) for name in ("service_restored", "replaced")]
    return why, f"timing: {kept[0]}{' (labs only)' if kept[0] == 'drill' else ''}", "; ".join(e for e in effects if e)


def _keeps(timeline: Timeline, timing: str, limit_s: float) -> bool:
    """Whether with that timing all that must be recovered is predicted to be, at the latest, within the limit."""
    wanted = [p for p in with_timing(timeline.plan, timing) if p.name in _RECOVERED and p.subject in ("", "deployment")]
    return bool(wanted) and all(p.band is not None and p.band.max_s <= limit_s for p in wanted)


def _clients(timeline: Timeline) -> list[Advice]:
    """What nobody but the client can change: it meets dead pods until their node is NotReady."""
    plan = timeline.plan
    failed = sum(not r.is_ok for r in during_fault(timeline, plan.drill.main_stream))
    deployment = plan.part("deployment")
    is_partly = deployment and 0 < len(deployment.lost) < deployment.wanted and not plan.scene.keeps_serving
    if not failed or not is_partly or not deployment or plan.scene.evicts:
        return []
    share = len(deployment.lost) / deployment.wanted
    until = "until NotReady" if timeline.has("not_ready") else "while the fault lasted,"
    return [
        Advice(
            why=f"{until} {len(deployment.lost)} of {deployment.wanted} addresses of the Service were dead,"
            " and no setting of Kubernetes makes that nothing",
            change="clients: a connect timeout of about 1 s, and two more tries on new connections",
            effect=f"as long as they are dead, about {share**3:.1%} of calls fail instead of {share:.1%}",
        )
    ]


# -- bands


def _bands(timeline: Timeline, finding: Finding) -> Said:
    """By the first stage that deviates; what follows from it is not explained again."""
    first = finding.text.partition(" deviated before it")[0].rpartition("; ")[2] if "deviated" in finding.text else ""
    name = next((name for name in _BANDS if (first or finding.text).startswith(name.replace("_", " "))), "")
    rate = timeline.plan.settings.eviction_rate
    whole = next((stage for stage in stages(timeline) if stage.name == name == "service_restored"), None)
    if whole and whole.predicted_s and whole.measured_s is not None and whole.measured_s < whole.predicted_s[0]:
        why = "clients met dead pods for a shorter time than was predicted, or not at all"
        return why, "nothing, if more runs show the same; a higher rate of the stream sees more", ""
    if name == "tainted" and timeline.plan.late_taint and rate < 1:
        why = "the taint lost its turn: each turn is 1 / --node-eviction-rate"
        turn_s = max(timeline.plan.settings.monitor_s, 1.0)
        return why, "--node-eviction-rate=1", f"a lost turn costs {turn_s:.0f} s instead of {1 / rate:.0f} s"
    return (*_BANDS.get(name, ("it is not known why", "read history.jsonl around that instant")), "")


_BANDS = {
    "not_ready": (
        "heartbeats were late before the fault, or kube-controller-manager was: both are short of CPU",
        "more CPU for the control plane, or fewer other programs on this host; then the run once more",
    ),
    "tainted": (
        "kube-controller-manager taints with a rate, and not at all while most of a zone is dead",
        "--node-eviction-rate; zone labels as machines really fail together",
    ),
    "evicted": (
        "kube-controller-manager deletes when the toleration ends: it was busy, or started anew meanwhile",
        "more CPU for the control plane, or fewer other programs on this host",
    ),
    "replaced": (
        "scheduling and starting took another time than the allowance, which is twice what the gate measured",
        "the image on every node; a readinessProbe with a short periodSeconds; requests that fit; more CPU",
    ),
    "service_restored": (
        "nodes take endpoints out one by one, and a client may come back from a port that the node still remembers",
        "kube-proxy: iptables.minSyncPeriod; a shorter nf_conntrack_tcp_timeout_syn_sent",
    ),
    "preempted": (
        "the pod that went took its terminationGracePeriodSeconds, or starting took longer than the allowance",
        "a shorter grace for pods of low priority; the image on every node; more CPU",
    ),
    "rebalanced": (
        "the return of the machine, the descheduler's own start and that of the pod are allowances",
        "nothing in Kubernetes; more CPU",
    ),
    "returned": (
        "the boot of this machine is not part of the model: the band is an allowance",
        "nothing in Kubernetes; what the machine starts before its kubelet",
    ),
}

REMEDIES: dict[str, Remedy] = {
    "injected": _injected,
    "complete": _complete,
    "steady": _steady,
    "node": _node,
    "pods": _pods,
    "condition": _condition,
    "preempts": _preempts,
    "rebalances": _rebalances,
    "untouched": _untouched,
    "service": _service,
    "noticed": _noticed,
    "thresholds": _thresholds,
    "returned": _returned,
    "recovery": _recovery,
    "bands": _bands,
    "requests": _requests,
    "strangers": _strangers,
}
