"""The prediction against 20 000 simulated clocks, and against the table of known values."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from labctl.drill.model import Band, Prediction, Settings, StageName, Topology
from labctl.drill.predict import LEASE_JITTER, LOOK_S, detection, late_taint, predict, why_no_taint

TOPOLOGY = Topology(nodes_ready=2)


def make(
    grace: float = 50, lease: float = 40, period: float = 5, tolerated: float | None = 300, version: str = "v1.37.2"
) -> Settings:
    return Settings(
        version=version,
        grace_s=grace,
        monitor_s=period,
        lease_s=lease,
        eviction_rate=0.1,
        secondary_eviction_rate=0.01,
        unhealthy_threshold=0.55,
        large_cluster=50,
        toleration_s=tolerated,
    )


DEFAULT = make()
FAST = make(grace=20, lease=8, period=2, tolerated=30)
DRILL = make(grace=10, lease=4, period=1, tolerated=10)


def bands(settings: Settings, topology: Topology = TOPOLOGY) -> dict[StageName, Band | None]:
    return {p.name: p.band for p in predict(settings, topology)}


def notes(settings: Settings, topology: Topology) -> dict[StageName, Prediction]:
    return {p.name: p for p in predict(settings, topology)}


@dataclass(frozen=True)
class Death:
    """One simulated death: seconds after the fault."""

    not_ready: float
    tainted: float
    evicted: float


def simulate(settings: Settings, rng: random.Random) -> Death:
    """A clock by clock imitation of kubelet and kube-controller-manager; shares no formula with the prediction."""
    looks, t = [], -rng.uniform(1, 2) * settings.monitor_s - settings.renew_s * (1 + LEASE_JITTER)
    while t < settings.grace_s + 4 * settings.monitor_s:
        looks.append(t)
        t += settings.monitor_s + rng.uniform(0.0005, 0.004)  # a look takes a moment, and the period comes after it
    last_renewal = -rng.uniform(0, settings.renew_s * (1 + rng.uniform(0, LEASE_JITTER)))
    last_seen = next(look for look in looks if look >= last_renewal)
    mark = next(number for number, look in enumerate(looks) if look - last_seen > settings.grace_s)
    not_ready = looks[mark] + rng.uniform(0.005, 0.1)
    entered = not_ready if settings.minor >= 37 else looks[mark + 1]
    tainted = entered + rng.uniform(0.005, 0.12)
    assert settings.toleration_s is not None
    return Death(not_ready, tainted, tainted + settings.toleration_s + rng.uniform(0.005, 0.2))


@pytest.mark.parametrize("settings", [DEFAULT, FAST, DRILL])
@pytest.mark.parametrize("version", ["v1.31.4", "v1.36.3", "v1.37.2"])
def test_twenty_thousand_simulated_deaths_are_inside_the_bands(settings: Settings, version: str) -> None:
    settings = settings.model_copy(update={"version": version})
    predicted = bands(settings)
    rng = random.Random(42)  # noqa: S311 - the same clocks each time
    deaths = [simulate(settings, rng) for _ in range(20_000 // 9 + 1)]
    for name, values in (
        ("not_ready", [d.not_ready for d in deaths]),
        ("tainted", [d.tainted for d in deaths]),
        ("evicted", [d.evicted for d in deaths]),
    ):
        band = predicted[name]  # type: ignore[index]
        assert band is not None
        outside = [v for v in values if not band.holds(v)]
        assert not outside, f"{name}: {outside[:3]} outside {band}"
        assert band.max_s - max(values) < settings.monitor_s + 1.5, f"{name}: the band is wider than what happens"
        assert min(values) - band.min_s < settings.renew_s + 0.5, f"{name}: the band begins too early"


@given(
    patience=st.floats(1, 100),
    lease=st.integers(2, 60),
    period=st.floats(0.5, 10),
    tolerated=st.floats(0, 400),
    minor=st.integers(29, 40),
    seed=st.integers(0, 2**31),
)
@hypothesis_settings(max_examples=400, deadline=None)
def test_any_settings_are_inside_the_bands(
    patience: float, lease: int, period: float, tolerated: float, minor: int, seed: int
) -> None:
    grace = 1.1 * lease / 4 + patience  # shorter than a renewal would make a healthy node NotReady
    settings = make(grace, lease, period, tolerated, f"v1.{minor}.0")
    death = simulate(settings, random.Random(seed))  # noqa: S311 - hypothesis chose the seed
    predicted = bands(settings)
    for band, value in ((predicted["not_ready"], death.not_ready), (predicted["evicted"], death.evicted)):
        assert band is not None
        assert band.min_s <= value <= band.max_s


def test_slow_machines_get_more_time_for_what_is_an_allowance_and_for_nothing_else() -> None:
    slow = DEFAULT.model_copy(update={"patience": 6.0})
    for name, band in bands(DEFAULT).items():
        later = bands(slow)[name]
        assert band is not None
        assert later is not None
        assert later.max_s > band.max_s
        if name not in ("returned", "service_restored"):
            assert later.max_s - band.max_s == pytest.approx(5 * {"not_ready": 0.4, "tainted": 0.6}.get(name, 1.0)), (
                "the write and the watch; the queue; the deletion"
            )
            assert later.min_s == band.min_s


@pytest.mark.parametrize(
    ("settings", "detected", "deleted"),
    [(DEFAULT, (40, 55), (345, 360)), (FAST, (18, 20 + 2), (50, 54)), (DRILL, (9, 11), (20, 22))],
)
def test_the_known_table(settings: Settings, detected: tuple[int, int], deleted: tuple[int, int]) -> None:
    seen = detection(settings)
    jitter = settings.renew_s * LEASE_JITTER
    assert seen.min_s == pytest.approx(detected[0] - jitter)
    assert seen.max_s == pytest.approx(detected[1] + settings.notice_s + 10 * LOOK_S)
    evicted = bands(settings.model_copy(update={"version": "v1.36.3"}))["evicted"]
    assert evicted is not None
    assert evicted.min_s == pytest.approx(deleted[0], abs=jitter + 0.5)
    assert evicted.max_s == pytest.approx(deleted[1], abs=1.5)


def test_a_grace_between_two_looks_may_end_at_the_earlier_one() -> None:
    """25 looks of 0.5 s and what each takes may be longer than 12.55 s, 26 looks surely are."""
    band = detection(make(grace=12.55, lease=2, period=0.5))
    assert band.min_s == pytest.approx(12.55 - 0.5 * (1 + LEASE_JITTER))
    assert band.max_s >= 26 * 0.5 + 0.5


def test_since_137_the_taint_comes_a_look_earlier() -> None:
    now, before = bands(DEFAULT)["tainted"], bands(make(version="v1.36.3"))["tainted"]
    assert now is not None
    assert before is not None
    assert before.max_s - now.max_s == pytest.approx(5)


def test_a_lost_token_costs_ten_seconds_since_137() -> None:
    late = late_taint(DRILL)
    assert late is not None
    assert late.holds(9.9 + 10)
    assert not late.holds(11.5)
    assert late_taint(make(version="v1.36.3")) is None


def test_the_second_dead_node_waits_for_the_rate() -> None:
    first, second = (bands(DRILL, Topology(nodes_ready=1, nodes_dead=2, kth=k))["evicted"] for k in (1, 2))
    assert first is not None
    assert second is not None
    assert second.min_s - first.min_s == pytest.approx(10)


@pytest.mark.parametrize(
    ("ready", "dead", "elsewhere", "words"),
    [
        (2, 1, 0, ""),  # 1 + 2, one worker
        (1, 2, 0, ""),  # 1 + 2, both workers
        (1, 3, 0, "partial disruption: 3 of 4"),  # 1 + 3, three workers
        (2, 2, 0, ""),  # 1 + 3, two workers
        (0, 1, 2, ""),  # a zone of its own
        (0, 3, 0, "full disruption"),
    ],
)
def test_zones_and_disruption(ready: int, dead: int, elsewhere: int, words: str) -> None:
    topology = Topology(nodes_ready=ready, nodes_dead=dead, ready_in_other_zones=elsewhere)
    why = why_no_taint(DRILL, topology)
    assert why.startswith(words)
    assert bool(why) == bool(words)
    predicted = bands(DRILL, topology)
    assert (predicted["evicted"] is None) == bool(words)
    assert predicted["not_ready"] is not None


def test_pods_that_tolerate_for_ever_are_never_evicted() -> None:
    predicted = notes(make(tolerated=None), TOPOLOGY)
    assert predicted["evicted"].band is None
    assert "for ever" in predicted["replaced"].note
    assert predicted["tainted"].band is not None


def test_without_room_the_replacement_stays_pending() -> None:
    predicted = notes(DRILL, Topology(nodes_ready=2, has_room=False))
    assert predicted["evicted"].band is not None
    assert predicted["replaced"].band is None
    assert "Pending" in predicted["replaced"].note


def test_a_single_replica_is_out_until_its_replacement() -> None:
    alone = bands(DRILL, Topology(nodes_ready=2, replicas_elsewhere=0))
    both = bands(DRILL)
    assert alone["service_restored"] is not None
    assert both["service_restored"] is not None
    assert alone["service_restored"].min_s > both["service_restored"].max_s
