"""What a plan is: settings as read, a drill's scene, and what should happen. Frozen, and readable again from JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from labctl.drill.declare import Drill, Frozen, NodeGoes, PartName, Step, StreamSpec

StageName = Literal[
    "not_ready",
    "service_restored",
    "tainted",
    "evicted",
    "replaced",
    "condition",
    "preempted",
    "returned",
    "rebalanced",
]
Since = Literal["fault", "heal"]


class Band(Frozen):
    """Predicted seconds, both ends included."""

    min_s: float
    max_s: float

    def holds(self, seconds: float) -> bool:
        """Whether `seconds` is inside."""
        return self.min_s <= seconds <= self.max_s

    def __add__(self, other: Band) -> Band:
        return Band(min_s=self.min_s + other.min_s, max_s=self.max_s + other.max_s)

    def __str__(self) -> str:
        return f"{self.min_s:.1f}-{self.max_s:.1f}"


class Settings(Frozen):
    """What decides how fast Kubernetes reacts, as the live processes have it; `sources` says where each was read."""

    version: str
    grace_s: float
    """--node-monitor-grace-period"""
    monitor_s: float
    """--node-monitor-period"""
    lease_s: float
    """the kubelet's nodeLeaseDurationSeconds; it renews four times as often"""
    eviction_rate: float
    """--node-eviction-rate, nodes a second"""
    secondary_eviction_rate: float
    unhealthy_threshold: float
    large_cluster: int
    status_s: float = 10.0
    """the kubelet's nodeStatusUpdateFrequency"""
    shutdown_s: float = 0.0
    """the kubelet's shutdownGracePeriod"""
    toleration_s: float | None
    """what the pods that will be lost tolerate; None: for ever"""
    patience: float = 1.0
    """how many times as long the allowances are: more than once for slow machines"""
    sources: dict[str, str] = Field(default_factory=dict)

    @property
    def notice_s(self) -> float:
        """Until a write to the API was made, and a watch has brought it to labctl."""
        return 0.4 * self.patience

    @property
    def queue_s(self) -> float:
        """The taint queue's period of 0.1 s and the write."""
        return 0.2 * self.patience

    @property
    def proxy_s(self) -> float:
        """EndpointSlice controller, kube-proxy (at most one sync a second) and the probe's own spacing."""
        return 2.0 * self.patience

    @property
    def early_s(self) -> float:
        """New connections may happen to miss the dead endpoint for so long before it is taken out."""
        return 1.0 * self.patience

    @property
    def return_s(self) -> float:
        """From the heal until a machine's node is Ready again."""
        return 120.0 * self.patience

    @property
    def renew_s(self) -> float:
        """How often the kubelet renews its lease."""
        return self.lease_s / 4

    @property
    def minor(self) -> int:
        """37 of v1.37.2."""
        return int(self.version.lstrip("v").split(".")[1])


class Topology(Frozen):
    """What decides, besides settings, who comes back."""

    nodes_ready: int
    """nodes of the victim's zone that stay Ready, the control plane among them"""
    nodes_dead: int = 1
    """nodes of that zone that die, the victim among them"""
    ready_in_other_zones: int = 0
    kth: int = 1
    """the victim's place among the nodes that die together"""
    replicas_elsewhere: int = 1
    has_room: bool = True
    """whether another node accepts pods"""
    keeps_serving: bool = False
    """whether the lost pods answer until they are taken out of their Service"""
    start_max_s: float = 5.0


UNPREDICTED = "not predicted for this fault"
"""how the note of a prediction without a band begins that does not mean never"""


class Prediction(Frozen):
    """When a stage of `subject` (a node, a part of the workload) should happen; `note` says why if `band` is None."""

    name: StageName
    subject: str = ""
    band: Band | None
    since: Since = "fault"
    note: str = ""

    def is_awaited_in(self, drill: Drill) -> bool:
        """Whether the fault lasts until it was seen: not where the drill says that the pods stay meanwhile."""
        goes = {str(part): goes for part, goes in drill.expect.pods.items()}.get(self.subject)
        return self.band is not None and self.since == "fault" and goes not in ("stays", "most-stay")


class Stream(Frozen):
    """A `StreamSpec` with its address."""

    spec: StreamSpec
    host: str
    port: int
    path: str = "/"


class Lost(Frozen):
    """A pod on a victim."""

    namespace: str
    name: str
    uid: str
    owner_kind: str = ""
    node: str = ""


class Tracked(Frozen):
    """A part of the workload whose pods are followed, by the label `PART`."""

    part: PartName
    kind: str
    name: str
    wanted: int
    """pods that shall be Ready"""
    lost: tuple[Lost, ...]
    """its pods on the victims"""


class Victim(Frozen):
    """A machine that is hit; `kth`: its place among those that are hit together."""

    name: str
    address: str
    role: str = "worker"
    kth: int = 1


class Scene(Frozen):
    """All that decides what is predicted, beside the settings. Tolerations are seconds by part, None for ever."""

    drill: Drill
    goes: NodeGoes
    keeps_serving: bool
    evicts: bool
    topology: Topology
    victims: tuple[Victim, ...]
    tracked: tuple[Tracked, ...]
    tolerations: dict[str, float | None] = Field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    """parts that a PodDisruptionBudget protects from being asked to leave"""


class PlannedStep(Frozen):
    """A `Step` with its machines, and the words for the report of what was done."""

    step: Step
    machines: tuple[str, ...]
    args: dict[str, str] = Field(default_factory=dict)
    doing: str = ""
    unproven: str = ""
    is_silencing: bool = False
    """whether the machine's own sign of life stops: then the fault is the last one"""


class NodeFacts(Frozen):
    """A node as it describes itself (`status.nodeInfo`, `status.capacity`)."""

    name: str
    os: str = ""
    kernel: str = ""
    runtime: str = ""
    kubelet: str = ""
    cpus: str = ""
    memory: str = ""


class Host(Frozen):
    """What a run was made on and with: another machine has other numbers. Empty: it could not be found out."""

    labctl: str = ""
    engine: str = ""
    """name and version"""
    os: str = ""
    kernel: str = ""
    cpus: int = 0
    memory_gib: float = 0.0
    nodes: tuple[NodeFacts, ...] = ()


class Plan(Frozen):
    """Who is hit, and what should happen when. Written before the fault."""

    schema_name: Literal["labctl.plan/v2"] = Field("labctl.plan/v2", alias="schema")
    scene: Scene
    lab: str
    seed: int
    settings: Settings
    survivors: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    streams: tuple[Stream, ...]
    restore: tuple[Lost, ...] = ()
    """bare pods that `labctl up` made; they die with a victim and are put back"""
    strangers: tuple[Lost, ...] = ()
    """bare pods of the user on a victim; they die and are not put back"""
    delay_s: float
    """the fault comes this long after the baseline: random within one lease renewal and one monitor period"""
    predictions: tuple[Prediction, ...]
    late_taint: Band | None = None
    """where the taint lands if the controller's taint queue is faster than its own cache (1.37 and later)"""
    watch_s: float = 0.0
    """the fault lasts at least so long, so that what must not happen had its time"""
    host: Host = Host()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def drill(self) -> Drill:
        """What was declared."""
        return self.scene.drill

    @property
    def victims(self) -> tuple[Victim, ...]:
        """The machines that are hit."""
        return self.scene.victims

    @property
    def tracked(self) -> tuple[Tracked, ...]:
        """The parts of the workload."""
        return self.scene.tracked

    @property
    def victim(self) -> str:
        """The names of all victims."""
        return ", ".join(victim.name for victim in self.victims)

    @property
    def victim_names(self) -> frozenset[str]:
        """The names of all victims, to look one up."""
        return frozenset(victim.name for victim in self.victims)

    def part(self, name: str) -> Tracked | None:
        """The part of that name, if the workload has it."""
        return next((tracked for tracked in self.tracked if tracked.part == name), None)

    def prediction(self, name: StageName, subject: str | None = None) -> Prediction:
        """The prediction of the stage `name` of `subject` (default: of the first that has one)."""
        return next(p for p in self.predictions if p.name == name and subject in (None, p.subject))

    @property
    def awaited(self) -> list[Prediction]:
        """What is predicted to happen while the fault lasts."""
        return [p for p in self.predictions if p.is_awaited_in(self.drill)]

    @property
    def observe_limit_s(self) -> float:
        """Seconds after the fault when a stage that was not seen is not waited for any longer."""
        bands = [p.band.max_s for p in self.awaited if p.band]
        return max([*bands, self.watch_s]) + self.drill.margin_s

    @property
    def undo_after_s(self) -> float:
        """Seconds after which a machine may undo the fault by itself: later than labctl would."""
        drill = self.drill
        return drill.proof_limit_s + self.observe_limit_s + drill.hold_s + drill.margin_s
