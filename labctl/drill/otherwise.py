"""The same loss with other settings: what a change of timing would change. Pure."""

from __future__ import annotations

from labctl.drill.model import Plan, Prediction, Settings
from labctl.drill.predict import predict

TIMINGS: dict[str, dict[str, float]] = {
    "default": {"grace_s": 50, "monitor_s": 5, "lease_s": 40, "toleration_s": 300},
    "fast": {"grace_s": 20, "monitor_s": 2, "lease_s": 8, "toleration_s": 30},
    "drill": {"grace_s": 10, "monitor_s": 1, "lease_s": 4, "toleration_s": 10},
}
"""`timing` of labctl.yml, in the words of `Settings`; default is Kubernetes' own since 1.32."""


def timing_of(settings: Settings) -> str:
    """The timing that has these figures, or nothing."""
    return next((name for name, figures in TIMINGS.items() if _has(settings, figures)), "")


def with_timing(plan: Plan, timing: str) -> tuple[Prediction, ...]:
    """What would be predicted if the lab had that timing, and nothing else were different."""
    return predict(plan.settings.model_copy(update=TIMINGS[timing]), plan.topology)


def _has(settings: Settings, figures: dict[str, float]) -> bool:
    return all(getattr(settings, name) == value for name, value in figures.items())
