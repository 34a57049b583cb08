"""What each finding comes from, and what would change it: a flag, a replica, a toleration, a budget, or a look. Pure.

Where the prediction can say what a change would bring, it is computed with the same function as the prediction itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from labctl.drill import remedies_clients, remedies_cluster
from labctl.drill.advice import Remedy, Said, advice, again
from labctl.drill.measure import stages
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Advice, Finding
from labctl.errors import command_for


def remedies(timeline: Timeline, findings: Sequence[Finding]) -> tuple[Advice, ...]:
    """For each finding its advice, the same for several once; then what follows from the plan."""
    said: dict[Said, list[int]] = {}
    for place, finding in enumerate(findings):
        said.setdefault(_remedy(timeline, finding), []).append(place)
    found = [Advice(why=w, change=c, effect=e, findings=tuple(places)) for (w, c, e), places in said.items() if c]
    if not timeline.proven:
        return tuple(found)
    known = {item.change for item in found}
    general = [
        item for item in (*advice(timeline.plan), *remedies_clients.clients(timeline)) if item.change not in known
    ]
    return (*found, *general)


def _remedy(timeline: Timeline, finding: Finding) -> Said:
    if finding.topic == "crashed":
        return "a bug in labctl: what it looks at is not judged", "report it with plan.json and history.jsonl", ""
    rule = REMEDIES.get(finding.check)
    try:
        return rule(timeline, finding) if rule else ("", "", "")
    except Exception as error:  # noqa: BLE001 - a bug in advice must not cost the verdict
        return f"a bug in labctl: {error!r}", "report it with plan.json and history.jsonl", ""


def _injected(timeline: Timeline, finding: Finding) -> Said:
    lab = timeline.plan.lab
    if finding.topic == "step-missing":
        why = "a later step waits for a stage, and that stage did not come"
        return why, "in the drill's file: after_s (seconds) instead of when, or a longer margin_s", ""
    why = "without proof that the fault happened, nothing that was measured says anything of Kubernetes"
    return why, f"{command_for(lab, 'recover')} makes sure that the lab is whole; then {again(timeline)}", ""


def _complete(timeline: Timeline, finding: Finding) -> Said:
    if finding.topic == "cut-short":
        why = "the run ended early, so what did not happen may merely not have been waited for"
        return why, again(timeline), ""
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


def _recovery(timeline: Timeline, _: Finding) -> Said:
    return (
        "the fault could not be undone as a whole",
        f"{command_for(timeline.plan.lab, 'recover')} goes on from there",
        "",
    )


def _bands(timeline: Timeline, finding: Finding) -> Said:
    """By the first stage that deviates; what follows from it is not explained again."""
    name = finding.topic
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
    **remedies_cluster.REMEDIES,
    **remedies_clients.REMEDIES,
    "recovery": _recovery,
    "bands": _bands,
}
