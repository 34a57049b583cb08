"""What to change, and what that would change in the prediction. Pure.

Each piece of advice rests on what the run showed and is computed with the same function as the prediction itself: the
scene is changed in one point, and looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from labctl.drill.model import Band, Plan, Prediction, Scene, Settings, StageName
from labctl.drill.otherwise import TIMINGS, changed, timing_of
from labctl.drill.outlook import outlook
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Advice, Finding
from labctl.errors import command_for

Said = tuple[str, str, str]
"""why, what to change, what would be predicted then"""
Remedy = Callable[[Timeline, Finding], Said]


def again(timeline: Timeline) -> str:
    """The drill once more, as a command."""
    return f"{command_for(timeline.plan.lab, 'drill', timeline.plan.drill.name)} once more"


def advice(plan: Plan) -> tuple[Advice, ...]:
    """What would make this loss cheaper; the most effective first."""
    return tuple(item for rule in (_replicas, _statefulset, _timing, _bare_pod, _room, _zones) for item in rule(plan))


def _replicas(plan: Plan) -> Iterator[Advice]:
    deployment = plan.part("deployment")
    topology = plan.scene.topology
    if not deployment or not deployment.lost or topology.replicas_elsewhere > 0 or plan.scene.keeps_serving:
        return
    better = topology.model_copy(update={"replicas_elsewhere": 1})
    yield Advice(
        why="every replica was on a machine that was hit, so the Service had none left",
        change=f"replicas: {deployment.wanted + 1}, with topologySpreadConstraints over kubernetes.io/hostname",
        effect=effect(plan, plan.settings, plan.scene.model_copy(update={"topology": better}), "service_restored"),
    )


def _statefulset(plan: Plan) -> Iterator[Advice]:
    part = plan.part("statefulset")
    waits = part and part.lost and plan.prediction("replaced", "statefulset").band is None
    if not waits or plan.scene.goes not in ("unreachable", "deleted"):
        return
    fence = plan.drill.steps[0].model_copy(update={"fault": "out-of-service", "when": "proof"})
    steps = (*plan.drill.steps[:1], fence)
    scene = plan.scene.model_copy(update={"drill": plan.drill.model_copy(update={"steps": steps})})
    yield Advice(
        why="the StatefulSet made no second pod, for it cannot know that the first one is dead",
        change="once it is off for sure: kubectl taint nodes NODE node.kubernetes.io/out-of-service=:NoExecute",
        effect=effect(plan, plan.settings, scene, "replaced", "statefulset"),
    )


def _timing(plan: Plan) -> Iterator[Advice]:
    now = timing_of(plan.settings)
    if now != "default" or plan.scene.goes not in ("unreachable", "not-ready"):
        return
    settings, scene = changed(plan, "fast")
    flags = TIMINGS["fast"]
    effects = [effect(plan, settings, scene, name) for name in ("service_restored", "replaced")]
    yield Advice(
        why="the settings are those that Kubernetes ships: it waits long before it believes that a machine is dead",
        change=f"timing: fast, which is --node-monitor-grace-period={flags['grace_s']:g}s, "
        f"--node-monitor-period={flags['monitor_s']:g}s, nodeLeaseDurationSeconds: {flags['lease_s']:g}, "
        f"tolerationSeconds: {flags['toleration_s']:g}; false alarms become likelier, heartbeats more frequent",
        effect="; ".join(effect for effect in effects if effect),
    )


def _bare_pod(plan: Plan) -> Iterator[Advice]:
    lost = [pod.name for pod in plan.strangers]
    if lost:
        yield Advice(why=f"{', '.join(lost)} belongs to nobody and is lost", change="make it a Deployment")


_SPREADS = {
    "must": (
        "the replicas may never share a node, and there is no other",
        "preferredDuringSchedulingIgnoredDuringExecution instead of required, or one node more",
    ),
    "even": (
        "a spread that allows a skew of 1 counts the dead node as one that has none, so no other may have two",
        "nodeTaintsPolicy: Honor in the topologySpreadConstraint, or whenUnsatisfiable: ScheduleAnyway",
    ),
}
"""what keeps a replacement from being placed -> why, and what to change"""


def _room(plan: Plan) -> Iterator[Advice]:
    part = plan.part("deployment")
    if not part or not part.lost or plan.prediction("replaced", "deployment").band is not None:
        return
    if plan.drill.spread in _SPREADS:
        soft = plan.scene.model_copy(update={"drill": plan.drill.model_copy(update={"spread": "wish"})})
        why, change = _SPREADS[plan.drill.spread]
        yield Advice(
            why=why,
            change=change,
            effect=effect(plan, plan.settings, soft, "replaced", "deployment"),
        )
    elif not plan.scene.topology.has_room:
        roomy = plan.scene.topology.model_copy(update={"has_room": True})
        yield Advice(
            why="no other node accepts pods",
            change="one worker more than the load needs, so that any one may die",
            effect=effect(
                plan, plan.settings, plan.scene.model_copy(update={"topology": roomy}), "replaced", "deployment"
            ),
        )


def _zones(plan: Plan) -> Iterator[Advice]:
    notes = [p.note for p in plan.predictions if p.name == "tainted" and "disruption" in p.note]
    if notes:
        yield Advice(
            why=notes[0],
            change="label the nodes with topology.kubernetes.io/zone as they really fail together: evictions are "
            "decided zone by zone",
        )


def effect(plan: Plan, settings: Settings, scene: Scene, name: StageName, subject: str | None = None) -> str:
    """How the prediction of a stage changes with other settings or in another scene; nothing if it does not."""
    before = _find(plan.predictions, name, subject)
    after = _find(outlook(settings, scene), name, subject)
    if after is None or (before and before.band == after.band):
        return ""
    label = "service whole again" if name == "service_restored" else f"{name} ({after.subject})"
    return f"{label} {_words(after.band)} instead of {_words(before.band if before else None)}"


def _find(predictions: tuple[Prediction, ...], name: StageName, subject: str | None) -> Prediction | None:
    return next((p for p in predictions if p.name == name and subject in (None, p.subject)), None)


def _words(band: Band | None) -> str:
    return "never" if band is None else f"{band} s"
