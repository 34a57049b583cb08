"""A drill as it is declared: what runs, who is hit, by what and when, and what is expected. Read from YAML.

docs/drill-files.md describes the file; `schema()` is its JSON Schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from labctl.errors import UsageError

NAMESPACE = "labctl-drill"
"""Drills keep their own pods here."""

PartName = Literal["deployment", "single", "patient", "bare-pod", "statefulset", "daemonset", "job"]
SAID = ("not-ready", "shuts-down")
"""the kubelet itself says that its node is not Ready; else the controller misses its heartbeats"""
NodeGoes = Literal["unreachable", "not-ready", "shuts-down", "stays", "deleted", "any"]
PodsGo = Literal["replaced", "again", "waits", "lost", "stays", "most-stay", "restarted", "pending", "any"]
ServiceGoes = Literal["restored", "whole", "down", "any"]
Moment = Literal["proof", "not_ready", "tainted", "evicted", "replaced", "returned"]


class Frozen(BaseModel):
    """A value: no change after it was made, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamSpec(Frozen):
    """A stream of HTTP requests at a fixed rate to a NodePort of `via`: ``survivor`` or ``victim``."""

    name: str
    via: Literal["survivor", "victim"]
    rate: float = Field(gt=0, le=200)
    keep_alive: bool = False
    timeout_s: float = Field(3.0, gt=0, le=60)


class Target(Frozen):
    """Machines that are hit. Those that carry a pod of each of `carries` are eligible."""

    role: Literal["worker", "control-plane"] = "worker"
    count: int | Literal["all"] = 1
    carries: tuple[PartName, ...] = ()
    besides: str = ""
    """not those of this other target, which is declared before"""


class Step(Frozen):
    """Something that is done, or (`undo`) undone, to each machine of `target`.

    It is due `after_s` seconds after the first step, or as soon as `when` was seen (and `after_s` more): ``proof`` of
    the step before it, or a stage.
    """

    fault: str
    target: str = "victim"
    after_s: float = Field(0.0, ge=0, le=3600)
    when: Moment | None = None
    undo: bool = False
    args: dict[str, str] = Field(default_factory=dict)


class Expectation(Frozen):
    """Declared before the run, what must not happen included. ``any``: not judged."""

    node: NodeGoes = "unreachable"
    """what Kubernetes makes of each victim"""
    pods: dict[PartName, PodsGo] = Field(default_factory=dict)
    """what becomes of each part's pods that were on a victim, as long as the fault lasts"""
    service: ServiceGoes = "restored"
    """new connections of the main stream at the end of the fault; ``whole``: none failed at all"""
    others_untouched: bool = True
    """no pod on another machine is restarted or moved"""
    returns: bool = True
    """each victim is Ready after the heal"""
    returns_empty: bool = False
    """none of the Deployment's pods moved back to a victim by itself"""
    noticed_by: str = ""
    """a stream of which requests must fail, though Kubernetes may not notice"""
    api_answers: bool = True
    """False: the API is away while the fault lasts; what watches missed then is not held against the run"""
    condition: str = ""
    """a node condition that must become True, such as DiskPressure"""
    rebalances: bool = False
    """a victim that returns stays without the Deployment's pods until the step `descheduler`, and then gets some"""
    preempts: bool = False
    """the pod of the step `high-priority-pod` runs, for one of low priority was preempted; its successor is Pending"""


class Needs(Frozen):
    """What a lab must have. `exactly`: not more workers either."""

    workers: int = 2
    exactly: bool = False


class Drill(Frozen):
    """A drill as it is declared."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    text: str
    group: str = "own"
    """power, service, network, resource, policy, state, certificate, control-plane"""
    suites: tuple[str, ...] = ()
    why: str = ""
    """what it teaches, in a sentence or two"""
    needs: Needs = Needs()
    parts: tuple[PartName, ...] = ("deployment", "bare-pod")
    manifests: tuple[dict[str, Any], ...] = ()
    """own documents beside the parts; they are put into the drill's namespace"""
    replicas: int = Field(2, ge=1, le=100)
    """of the Deployment"""
    spread: Literal["wish", "even", "must"] = "wish"
    """two pods of a part on one node: if there is no other, if every node has one (maxSkew 1), never"""
    targets: dict[str, Target] = Field(default_factory=lambda: {"victim": Target(carries=("deployment",))})
    setup: tuple[Step, ...] = ()
    """done before the baseline, undone at the end: what the fault is to meet"""
    steps: tuple[Step, ...] = ()
    """none: a control run, in which nothing is done and nothing may happen"""
    expect: Expectation = Expectation()
    namespace: str = NAMESPACE
    streams: tuple[StreamSpec, ...] = (
        StreamSpec(name="survivor", via="survivor", rate=20),
        StreamSpec(name="survivor-keepalive", via="survivor", rate=5, keep_alive=True),
        StreamSpec(name="victim", via="victim", rate=5),
    )
    main_stream: str = "survivor"
    consent: bool = False
    """whether it must be agreed to (`--yes`), for it takes the control plane away"""
    baseline_s: float = Field(5.0, ge=0)
    hold_s: float = Field(3.0, ge=0)
    """how long the fault lasts after all expected stages were seen"""
    margin_s: float = 20.0
    """how long the run waits beyond the last predicted maximum"""
    proof_limit_s: float = 15.0
    return_limit_s: float = 300.0
    recovered_within_s: float | None = Field(None, gt=0)
    """the run fails if the service is not whole, and the lost pods not replaced, so many seconds after the fault"""
    failed_at_most: int | None = Field(None, ge=0)
    """the run fails if more requests of the main stream fail while the fault lasts"""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Drill:
        for step in (*self.setup, *self.steps):
            if step.target not in self.targets:
                raise ValueError(f"steps: {step.fault} is for {step.target}, which is none of the targets")
        if self.steps and (self.steps[0].after_s or self.steps[0].when or self.steps[0].undo):
            raise ValueError("steps: the first one is the fault, at once: it has neither after_s, when nor undo")
        if any(step.after_s or step.when or step.undo for step in self.setup):
            raise ValueError("setup: all of it comes before the fault: it has neither after_s, when nor undo")
        if self.main_stream not in {stream.name for stream in self.streams}:
            raise ValueError(f"main_stream: there is no stream {self.main_stream}")
        if self.expect.noticed_by not in {"", *(stream.name for stream in self.streams)}:
            raise ValueError(f"expect.noticed_by: there is no stream {self.expect.noticed_by}")
        strangers = [part for part in self.expect.pods if part not in self.parts]
        if strangers:
            raise ValueError(f"expect.pods: {', '.join(strangers)} is none of the parts")
        if "deployment" not in self.parts:
            raise ValueError("parts: the deployment is what the streams ask, so it is always one")
        return self

    @model_validator(mode="after")
    def _has_the_step_that_it_expects_of(self) -> Drill:
        if self.expect.preempts and "high-priority-pod" not in {step.fault for step in self.steps}:
            raise ValueError("expect.preempts: none of the steps is high-priority-pod")
        if self.expect.rebalances and "descheduler" not in {step.fault for step in self.steps}:
            raise ValueError("expect.rebalances: none of the steps is descheduler")
        return self


def load(path: Path) -> Drill:
    """The drill in a YAML file. Raises `UsageError` that names the file, the key and what is wrong with it."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = "labctl drill --list shows the shipped drills"
        raise UsageError(f"{path}: {error.strerror or error}", shipped) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    try:
        return Drill.model_validate(raw)
    except ValidationError as error:
        raise UsageError(
            f"{path} declares no drill:\n{_sentences(error)}", "docs/drill-files.md has all keys"
        ) from error


def schema() -> dict[str, Any]:
    """The JSON Schema of a drill's file."""
    return Drill.model_json_schema()


def _sentences(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(map(str, item["loc"]))
        lines.append(f"  {where}: {item['msg']}" if where else f"  {item['msg']}")
    return "\n".join(lines)
