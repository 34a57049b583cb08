"""What findings about clients come from, and what would change them. Pure."""

from __future__ import annotations

from labctl.drill.advice import Remedy, Said, again, effect
from labctl.drill.measure import during_fault, stages
from labctl.drill.otherwise import changed, with_timing
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Advice, Finding
from labctl.errors import command_for

_RECOVERED = ("service_restored", "replaced")


def _service(timeline: Timeline, finding: Finding) -> Said:
    plan = timeline.plan
    match finding.topic:
        case "unsent":
            return _requests(timeline, finding)
        case "not-asked":
            return "there is no evidence of it: the probe was not running", again(timeline), ""
        case "not-down":
            return (
                "an endpoint still answered",
                "look at the EndpointSlices: which pod was it, and on which machine",
                "",
            )
        case "lost-requests" if plan.scene.evicts:
            why = "a pod stopped before every node had taken it out of the Service"
            change = "lifecycle.preStop.sleep of 5 s, readinessProbe, and a PodDisruptionBudget with maxUnavailable: 1"
            return why, change, ""
        case "lost-requests":
            why = "the Service lost requests although nothing should have been wrong with it"
            return why, f"{command_for(plan.lab, 'drill', 'control')} tells this host's own noise from the fault's", ""
    return _not_whole(timeline)


def _not_whole(timeline: Timeline) -> Said:
    plan = timeline.plan
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


def _requests(_: Timeline, __: Finding) -> Said:
    why = "this host could not send in time, so the clients' failures are its own as well"
    return why, "fewer other programs on this host, or a lower rate of the stream in the drill's file", ""


def _noticed(_: Timeline, __: Finding) -> Said:
    why = "no request met the fault: this path of the clients does not lead through it"
    return why, "noticed_by: another stream; more replicas on the victims; a longer hold_s", ""


def _thresholds(timeline: Timeline, finding: Finding) -> Said:
    plan = timeline.plan
    limit = plan.drill.recovered_within_s
    if finding.topic != "late" or limit is None:
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


def clients(timeline: Timeline) -> list[Advice]:
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


REMEDIES: dict[str, Remedy] = {
    "service": _service,
    "noticed": _noticed,
    "thresholds": _thresholds,
    "requests": _requests,
}
