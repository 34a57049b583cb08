"""Stages of every owner of pods, of several victims, and of faults that Kubernetes sees otherwise or not at all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.drill import drills, predict
from labctl.drill.declare import Drill, PartName, Step
from labctl.drill.model import Band, Lost, Prediction, Scene, Settings, Topology, Tracked, Victim
from labctl.drill.outlook import GC_S, QUARANTINE_S, SHUT_DOWN_S, outlook, watch_s
from labctl.drill.workload import KINDS

SETTINGS = Settings(
    version="v1.37.2",
    grace_s=10,
    monitor_s=1,
    lease_s=4,
    eviction_rate=0.1,
    secondary_eviction_rate=0.01,
    unhealthy_threshold=0.55,
    large_cluster=50,
    status_s=2,
    toleration_s=10,
)
PARTS: tuple[PartName, ...] = ("deployment", "statefulset", "daemonset", "job", "bare-pod")


def scene(*steps: Step, goes: str = "unreachable", victims: int = 1, **changes: Any) -> Scene:  # noqa: ANN401
    drill = Drill(name="d", text="", parts=PARTS, steps=steps or (Step(fault="power-off"),), **changes.pop("drill", {}))
    made: dict[str, Any] = {
        "drill": drill,
        "goes": goes,
        "keeps_serving": False,
        "evicts": False,
        "topology": Topology(nodes_ready=2, nodes_dead=victims),
        "victims": [Victim(name=f"w{k}", address="", kth=k) for k in range(1, victims + 1)],
        "tracked": [
            Tracked(part=part, kind=KINDS[part], name=part, wanted=2, lost=(Lost(namespace="n", name=part, uid=part),))
            for part in PARTS
        ],
        "tolerations": {part: None if part == "daemonset" else 10.0 for part in PARTS},
    }
    return Scene.model_validate({**made, **changes})


def found(view: Scene, settings: Settings = SETTINGS) -> dict[tuple[str, str], Prediction]:
    return {(p.name, p.subject): p for p in outlook(settings, view)}


def test_a_deployment_of_one_dead_worker_is_as_the_plain_prediction_says() -> None:
    plain = {p.name: p.band for p in predict.predict(SETTINGS, Topology(nodes_ready=2))}
    seen = found(scene())
    assert seen["not_ready", "w1"].band == plain["not_ready"]
    assert seen["tainted", "w1"].band == plain["tainted"]
    assert seen["evicted", "deployment"].band == plain["evicted"]
    assert seen["replaced", "deployment"].band == plain["replaced"]
    assert seen["service_restored", ""].band == plain["service_restored"]
    assert seen["returned", "w1"].since == "heal"


def test_who_owns_a_pod_decides_whether_it_comes_back() -> None:
    seen = found(scene())
    assert seen["replaced", "job"].band == seen["replaced", "deployment"].band
    assert seen["evicted", "statefulset"].band == seen["evicted", "deployment"].band
    assert seen["replaced", "statefulset"].band is None
    assert "out-of-service" in seen["replaced", "statefulset"].note
    assert seen["evicted", "bare-pod"].band is not None
    assert ("replaced", "bare-pod") not in seen
    assert seen["evicted", "daemonset"].band is None


def test_the_second_dead_node_waits_for_the_eviction_rate() -> None:
    seen = found(scene(victims=2))
    first, second = (seen["tainted", f"w{k}"].band for k in (1, 2))
    assert first is not None
    assert second is not None
    assert second.min_s - first.min_s == pytest.approx(10)
    evicted = seen["evicted", "deployment"].band
    assert evicted is not None
    assert evicted.max_s == pytest.approx(second.max_s + 10 + SETTINGS.notice_s)


def test_three_of_four_dead_nodes_are_not_evicted_and_the_run_lasts_as_if_they_were() -> None:
    view = scene(victims=3, topology=Topology(nodes_ready=1, nodes_dead=3))
    seen = found(view)
    assert all(seen["tainted", f"w{k}"].band is None for k in (1, 2, 3))
    assert "partial disruption" in seen["evicted", "deployment"].note
    patient = view.model_copy(update={"drill": view.drill.model_copy(update={"expect": expecting("stays")})})
    ordinary = found(scene())["evicted", "deployment"].band
    assert ordinary is not None
    assert watch_s(SETTINGS, patient) >= ordinary.max_s


def expecting(fate: str) -> Any:  # noqa: ANN401
    return Drill.model_validate({"name": "x", "text": "", "expect": {"pods": {"deployment": fate}}}).expect


def test_out_of_service_frees_the_statefulset_within_a_round_of_the_garbage_collector() -> None:
    seen = found(scene(Step(fault="power-off"), Step(fault="out-of-service", when="proof")))
    evicted, replaced = seen["evicted", "deployment"].band, seen["replaced", "statefulset"].band
    assert evicted is not None
    assert replaced is not None
    assert evicted.max_s < 10, "long before NotReady"
    noticed = predict.detection(SETTINGS)
    assert replaced.min_s == pytest.approx(noticed.min_s), "the collector wants the node NotReady"
    assert replaced.max_s == pytest.approx(noticed.max_s + GC_S + SETTINGS.notice_s + 5)


def test_a_fence_takes_the_pods_out_of_the_service_before_the_node_is_notready() -> None:
    steps = Step(fault="power-off"), Step(fault="out-of-service", when="proof")
    elsewhere = Topology(nodes_ready=2, nodes_dead=1, replicas_elsewhere=1)
    fenced, plain = (found(scene(*some, topology=elsewhere)) for some in (steps, steps[:1]))
    sooner, later = (view["service_restored", ""].band for view in (fenced, plain))
    assert sooner is not None
    assert later is not None
    assert sooner.min_s == 0
    assert sooner.max_s < later.max_s


def test_a_kubelet_that_is_short_of_something_evicts_by_itself() -> None:
    expect = {"node": "stays", "condition": "DiskPressure", "pods": {"deployment": "replaced"}}
    view = scene(Step(fault="disk-full"), goes="stays", keeps_serving=True, drill={"expect": expect})
    seen = found(view)
    assert seen["not_ready", "w1"].band is None
    assert seen["evicted", "deployment"].band == Band(min_s=0, max_s=30)
    assert seen["replaced", "deployment"].band is not None
    assert seen["evicted", "statefulset"].band is None
    assert seen["service_restored", ""].band is not None


def test_a_deleted_nodes_pods_go_as_orphans_after_their_quarantine() -> None:
    view = scene(Step(fault="power-off"), Step(fault="node-delete", when="not_ready"))
    seen = found(view)
    noticed, replaced = predict.detection(SETTINGS), seen["replaced", "statefulset"].band
    assert replaced is not None
    assert replaced.min_s == pytest.approx(noticed.min_s + QUARANTINE_S)
    ordinary = found(scene())["evicted", "deployment"].band
    assert ordinary is not None
    assert seen["evicted", "deployment"].band == ordinary, "the toleration runs out first"


def test_a_runtime_that_stopped_is_said_by_the_kubelet_itself() -> None:
    band = found(scene(goes="not-ready"))["not_ready", "w1"].band
    assert band is not None
    assert band.min_s == 25
    assert band.holds(33)


def test_a_kubelet_that_shuts_down_ends_its_pods_before_anybody_waits() -> None:
    settings = SETTINGS.model_copy(update={"shutdown_s": 4.0})
    view = scene(goes="shuts-down")
    seen = found(view, settings)
    assert seen["not_ready", "w1"].band == Band(min_s=0, max_s=SHUT_DOWN_S)
    ended = Band(min_s=0, max_s=SHUT_DOWN_S + 4)
    for part in ("deployment", "statefulset", "bare-pod"):
        assert seen["evicted", part].band == ended
    assert seen["evicted", "daemonset"].band == ended, "its kubelet ends all pods"
    start = Band(min_s=0, max_s=view.topology.start_max_s)
    assert seen["replaced", "statefulset"].band == ended + start, "a pod that ended has a successor at once"
    assert seen["service_restored", ""].band == ended + Band(min_s=0, max_s=SETTINGS.proxy_s)
    patient = SETTINGS.model_copy(update={"shutdown_s": 300.0})
    soonest = found(view, patient)["evicted", "deployment"].band
    assert soonest is not None
    assert soonest.max_s < 30, "the toleration runs out before"
    assert seen["returned", "w1"].since == "heal"


def test_what_kubernetes_does_not_see_has_no_stages_and_is_watched_long_enough() -> None:
    view = scene(goes="stays", keeps_serving=True)
    seen = found(view)
    assert seen["not_ready", "w1"].band is None
    assert seen["evicted", "deployment"].band is None
    assert seen["service_restored", ""].band == Band(min_s=0, max_s=SETTINGS.proxy_s)
    assert watch_s(SETTINGS, view) == predict.detection(SETTINGS).max_s


def test_pods_that_are_asked_to_leave_leave_at_once_unless_a_budget_forbids_it() -> None:
    view = scene(Step(fault="drain"), goes="stays", keeps_serving=True, evicts=True)
    assert found(view)["evicted", "deployment"].band == Band(min_s=0, max_s=2)
    assert found(view)["evicted", "daemonset"].band is None
    blocked = view.model_copy(update={"blocked": ("deployment",)})
    assert "PodDisruptionBudget" in found(blocked)["evicted", "deployment"].note


@pytest.mark.parametrize(("spread", "is_placed"), [("wish", True), ("even", False), ("must", False)])
def test_a_spread_that_must_be_keeps_the_replacement_pending(spread: str, *, is_placed: bool) -> None:
    band = found(scene(drill={"spread": spread}))["replaced", "deployment"].band
    assert (band is not None) == is_placed


def test_without_room_the_replacement_is_pending() -> None:
    seen = found(scene(topology=Topology(nodes_ready=1, has_room=False, replicas_elsewhere=0)))
    assert seen["replaced", "deployment"].band is None
    assert seen["service_restored", ""].band is None
    assert "Pending" in seen["service_restored", ""].note


def test_the_replacement_is_placed_when_a_step_gives_room_again() -> None:
    steps = Step(fault="power-off"), Step(fault="cordon", undo=True, when="evicted", after_s=5)
    seen = found(scene(*steps, topology=Topology(nodes_ready=1, has_room=False, replicas_elsewhere=1)))
    evicted, replaced = seen["evicted", "deployment"].band, seen["replaced", "deployment"].band
    assert evicted is not None
    assert replaced is not None
    assert replaced.min_s == evicted.min_s + 5


# -- against simulated clocks


def simulated(rng: random.Random, settings: Settings, tolerated: float, victims: int) -> tuple[list[float], float]:
    """Heartbeats, looks, the eviction rate's tokens: when each victim is NotReady, and the last pod is evicted.

    The controller looks at t = phase + n x M, keeps the time of the look that first showed the last heartbeat, and
    marks the node at the first look later than that time + G. Written from the description in `predict`, not from its
    formula.
    """
    look, phase = settings.monitor_s, rng.uniform(0, settings.monitor_s)
    noticed = []
    for _ in range(victims):
        last_beat = -rng.uniform(0, settings.renew_s * (1 + predict.LEASE_JITTER))
        first_look = phase + look * -(-(last_beat - phase) // look)
        mark = first_look
        while mark <= max(0.0, first_look + settings.grace_s - 1e-9) or mark < 0:
            mark += look
        noticed.append(mark)
    ordered = sorted(noticed)
    token, evicted = 0.0, []
    for mark in ordered:
        delay = rng.uniform(0, 0.1) + (0 if settings.minor >= 37 else look)
        token = max(mark + delay, token)
        evicted.append(token + tolerated)
        token += 1 / settings.eviction_rate
    return ordered, max(evicted)


@given(
    seed=st.integers(0, 2**32),
    timing=st.sampled_from([(50, 5, 40, 300), (20, 2, 8, 30), (10, 1, 4, 10), (40, 5, 40, 300)]),
    minor=st.sampled_from([36, 37]),
    victims=st.integers(1, 2),
)
def test_simulated_clocks_stay_within_the_bands(
    seed: int, timing: tuple[float, float, float, float], minor: int, victims: int
) -> None:
    grace, look, lease, tolerated = timing
    figures = {"grace_s": grace, "monitor_s": look, "lease_s": lease, "toleration_s": tolerated}
    settings = SETTINGS.model_copy(update={**figures, "version": f"v1.{minor}.2"})
    noticed, evicted = simulated(random.Random(seed), settings, tolerated, victims)  # noqa: S311
    view = scene(victims=victims, tolerations=dict.fromkeys(PARTS, tolerated))
    seen = found(view, settings)
    band = seen["not_ready", "w1"].band
    assert band is not None
    assert all(band.holds(t) for t in noticed), (band, noticed)
    gone = seen["evicted", "deployment"].band
    assert gone is not None
    assert gone.holds(evicted), (gone, evicted)


def test_nobody_waits_for_pods_to_go_that_a_drill_says_stay() -> None:
    drill = drills()["tolerations"]
    band = Band(min_s=3609, max_s=3630)
    gone = {part: Prediction(name="evicted", subject=part, band=band) for part in ("deployment", "patient")}
    assert {part: prediction.is_awaited_in(drill) for part, prediction in gone.items()} == {
        "deployment": True,
        "patient": False,
    }
