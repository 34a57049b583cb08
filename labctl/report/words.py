"""What stages, streams and results are called wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from labctl.drill.model import UNPREDICTED, Host, NodeFacts, StageName
from labctl.drill.series import Spread
from labctl.drill.verdict import Advice, Level, Outcome, Stage, StreamSummary, Verdict

WORDS: dict[StageName, str] = {
    "not_ready": "node NotReady",
    "service_restored": "service whole again",
    "tainted": "node tainted NoExecute",
    "evicted": "pods evicted",
    "replaced": "replacement Ready elsewhere",
    "condition": "node says so",
    "preempted": "pod of high priority Ready",
    "returned": "node Ready again",
    "rebalanced": "used again, after the descheduler",
}
LEVELS: dict[Level, str] = {
    "not-injected": "no proof",
    "fail": "failed",
    "inconclusive": "not known",
    "flag": "to look at",
    "info": "to know",
}
TITLES = {
    "injected": "proof of the fault",
    "complete": "the record of the run",
    "steady": "the steady state",
    "node": "the node",
    "pods": "the pods",
    "condition": "what the node says",
    "preempts": "who made room",
    "rebalances": "who moves back",
    "untouched": "pods on other machines",
    "service": "the service",
    "noticed": "what clients notice",
    "thresholds": "thresholds",
    "returned": "the return",
    "recovery": "the undo",
    "bands": "prediction",
    "requests": "the probe",
    "strangers": "pods of others",
}
"""the judge's checks, as headings"""
_HEADLINES: dict[Outcome, str] = {
    "pass": "All that was declared before the run held.",
    "fail": "What was declared before the run did not hold.",
    "inconclusive": "The run does not say whether what was declared holds.",
    "not-injected": "There is no proof that the fault happened, so nothing can be said of Kubernetes.",
}


def band(stage: Stage | Spread, dash: str = "-", unit: str = "") -> str:
    """What was predicted for a stage: seconds, never, or nothing."""
    if stage.predicted_s is None:
        return "not predicted" if stage.note.startswith(UNPREDICTED) else "never"
    return f"{stage.predicted_s[0]:.1f}{dash}{stage.predicted_s[1]:.1f}{unit}"


def predicted(stage: Stage) -> str:
    """The same beside something else, so that it says what it is."""
    found = band(stage, "\N{EN DASH}", " s")
    return found if found.startswith("not") else f"predicted {found}"


def fit(stage: Stage) -> str:
    """Whether a stage is as predicted: yes, NO, or a dash if that cannot be said."""
    if stage.in_band is not None:
        return "yes" if stage.in_band else "NO"
    if stage.note.startswith(UNPREDICTED) or stage.predicted_s:
        return "-"
    return "yes" if stage.measured_s is None else "NO"


class Named(Protocol):
    """A stage, a prediction, a spread."""

    @property
    def name(self) -> StageName: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102


def label(stage: Named, among: Sequence[Named]) -> str:
    """The stage in words; with its subject where several have that stage."""
    is_shared = sum(other.name == stage.name for other in among) > 1
    return f"{WORDS[stage.name]}, {stage.subject}" if is_shared and stage.subject else WORDS[stage.name]


def headline(verdict: Verdict) -> str:
    """The outcome in a sentence."""
    broken = [promise for promise in verdict.promises if promise.is_kept is False]
    if verdict.verdict == "fail" and broken:
        count = f"{len(broken)} of {len(verdict.promises)} things declared before the run did not hold"
        which = f"\N{LEFT DOUBLE QUOTATION MARK}{broken[0].text}\N{RIGHT DOUBLE QUOTATION MARK}"
        return f"{count}: {which}{', and more' if broken[1:] else ''}."
    return _HEADLINES[verdict.verdict]


def failed_share(stream: StreamSummary) -> str:
    """How many of its requests failed, in percent."""
    return f"{(stream.sent - stream.ok) / stream.sent:.1%}" if stream.sent else "-"


def requests_sentence(stream: StreamSummary) -> str:
    """What became of a stream's requests during the fault, in one line."""
    bad = stream.sent - stream.ok
    if not bad:
        return f"requests, {stream.name}: all {stream.sent} answered during the fault"
    return f"requests, {stream.name}: {bad} of {stream.sent} failed ({failures(stream)} after the fault)"


def failures(stream: StreamSummary) -> str:
    """How its requests failed, and from when to when they had been sent; seconds after the fault."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in stream.failed.items())
    return f"{kinds}, sent {stream.first_failed_s:.1f} to {stream.last_failed_s:.1f} s"


def host_rows(host: Host) -> list[tuple[str, str]]:
    """The machine that a run was made on, name and value; what is not known is left out."""
    known = [
        ("labctl", host.labctl),
        ("container engine", host.engine),
        ("host", host.os),
        ("kernel", host.kernel),
        ("CPUs", str(host.cpus or "")),
        ("memory", f"{host.memory_gib:g} GiB" if host.memory_gib else ""),
    ]
    return [(name, value) for name, value in known if value]


def node_words(node: NodeFacts) -> str:
    """A node's operating system, runtime and size, in a line."""
    size = f"{node.cpus} CPUs, {memory(node.memory)}" if node.cpus and node.memory else ""
    kubelet = f"kubelet {node.kubelet}" if node.kubelet else ""
    return ", ".join(filter(None, (node.os, kubelet, node.runtime, size))) or "-"


def memory(quantity: str) -> str:
    """A quantity of Kubernetes in GiB; what is no number of Ki, Mi or Gi stays as it is."""
    for unit, bytes_each in (("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30)):
        if quantity.removesuffix(unit).isdigit() and quantity.endswith(unit):
            return f"{int(quantity.removesuffix(unit)) * bytes_each / 2**30:.1f} GiB"
    return quantity


def answers(verdict: Verdict) -> list[list[Advice]]:
    """For each finding the advice that answers it; what several have in common is said at the first."""
    return [
        [item for item in verdict.advice if item.findings[:1] == (place,)] for place, _ in enumerate(verdict.findings)
    ]
