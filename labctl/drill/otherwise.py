"""The same loss with other settings: what a change of timing would change. Pure."""

from __future__ import annotations

from labctl.drill.model import Plan, Prediction, Scene, Settings
from labctl.drill.outlook import outlook

TIMINGS: dict[str, dict[str, float]] = {
    "default": {"grace_s": 50, "monitor_s": 5, "lease_s": 40, "toleration_s": 300},
    "fast": {"grace_s": 20, "monitor_s": 2, "lease_s": 8, "toleration_s": 30},
    "drill": {"grace_s": 10, "monitor_s": 1, "lease_s": 4, "toleration_s": 10},
}
"""`timing` of labctl.yml, in the words of `Settings`; default is Kubernetes' own since 1.32."""
_OWN_TOLERATION = "patient"
"""pods of this part bring a toleration of their own"""


def timing_of(settings: Settings) -> str:
    """The timing that has these figures, or nothing."""
    return next((name for name, figures in TIMINGS.items() if _has(settings, figures)), "")


def changed(plan: Plan, timing: str) -> tuple[Settings, Scene]:
    """The lab with that timing, pods that were admitted under it included; nothing else is different."""
    figures = TIMINGS[timing]
    tolerated = {
        part: seconds if seconds is None or part == _OWN_TOLERATION else figures["toleration_s"]
        for part, seconds in plan.scene.tolerations.items()
    }
    scene = plan.scene.model_copy(update={"tolerations": tolerated})
    return plan.settings.model_copy(update=figures), scene


def with_timing(plan: Plan, timing: str) -> tuple[Prediction, ...]:
    """What would be predicted if the lab had that timing."""
    return outlook(*changed(plan, timing))


def _has(settings: Settings, figures: dict[str, float]) -> bool:
    return all(getattr(settings, name) == value for name, value in figures.items())
