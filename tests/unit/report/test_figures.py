"""The numbers that come first, and what stages and results are called."""

from __future__ import annotations

import pytest

from labctl.drill.judge import CHECKS
from labctl.drill.model import UNPREDICTED, NodeFacts, StageName
from labctl.drill.verdict import Finding, Promise, Stage, StreamSummary
from labctl.report.figures import figures
from labctl.report.words import TITLES, band, fit, headline, node_words, predicted
from tests.unit.drill.test_judge import PLAN
from tests.unit.report.test_terminal import verdict


def stage(name: StageName, band: tuple[float, float] | None, seen: float | None, note: str = "") -> Stage:
    fits = None if band is None or seen is None else band[0] <= seen <= band[1]
    subject = "deployment" if name == "replaced" else ""
    return Stage(name=name, subject=subject, since="fault", predicted_s=band, measured_s=seen, in_band=fits, note=note)


@pytest.mark.parametrize(
    ("made", "figure"),
    [
        (stage("not_ready", (9, 11), 10), ("NotReady after", "10.0 s", "predicted 9.0\N{EN DASH}11.0 s", False)),
        (stage("not_ready", (9, 11), None), ("NotReady after", "never", "predicted 9.0\N{EN DASH}11.0 s", True)),
        (stage("not_ready", None, 10), ("the node was", "NotReady, 10.0 s", "predicted: never NotReady", True)),
        (stage("not_ready", None, None), ("the node was", "Ready all the time", "predicted: never NotReady", False)),
        (stage("service_restored", (0, 2), 0), ("the service", "never failed", "predicted 0.0\N{EN DASH}2.0 s", False)),
        (stage("service_restored", None, 2.8), ("service whole after", "2.8 s", "predicted never", True)),
        (stage("service_restored", None, 2.8, UNPREDICTED), ("service whole after", "2.8 s", "not predicted", False)),
        (stage("replaced", None, None), ("deployment", "not replaced", "predicted never", False)),
        (stage("replaced", (1, 2), 3), ("deployment elsewhere", "after 3.0 s", "predicted 1.0\N{EN DASH}2.0 s", True)),
    ],
)
def test_the_first_numbers(made: Stage, figure: tuple[str, str, str, bool]) -> None:
    assert figures(verdict(stages=(made,), findings=(), requests=()), PLAN) == [figure]


def test_the_main_streams_failures_are_one() -> None:
    main = StreamSummary(
        name=PLAN.drill.main_stream,
        sent=200,
        ok=150,
        failed={"timeout": 50},
        first_failed_s=0,
        last_failed_s=9,
        latency_p50_s=None,
        latency_max_s=None,
    )
    other = main.model_copy(update={"name": "victim", "ok": 0})
    found = figures(verdict(stages=(), findings=(), requests=(other, main)), PLAN)
    assert found == [("requests that failed", "50 of 200", f"25.0% of stream {main.name}", False)]


def test_without_a_proven_fault_there_is_no_number() -> None:
    unproven = Finding(check="injected", level="not-injected", text="no proof")
    assert figures(verdict(findings=(unproven,)), PLAN) == []


def test_the_headline_says_what_did_not_hold() -> None:
    broken = (Promise(text="pods come back", is_kept=False), Promise(text="w1 returns", is_kept=True))
    assert headline(verdict(promises=broken)) == (
        "1 of 2 things declared before the run did not hold: "
        "\N{LEFT DOUBLE QUOTATION MARK}pods come back\N{RIGHT DOUBLE QUOTATION MARK}."
    )
    assert headline(verdict(verdict="pass")) == "All that was declared before the run held."


def test_a_stage_that_nobody_predicted_is_not_said_to_be_impossible() -> None:
    assert predicted(stage("service_restored", None, 2, UNPREDICTED)) == "not predicted"
    assert predicted(stage("service_restored", None, 2)) == "predicted never"


def test_a_node_in_a_line() -> None:
    facts = NodeFacts(name="w1", os="Debian 13", kubelet="v1.37.2", cpus="2", memory="2097152Ki")
    assert node_words(facts) == "Debian 13, kubelet v1.37.2, 2 CPUs, 2.0 GiB"
    assert node_words(NodeFacts(name="w1", memory="12")) == "-"


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (stage("evicted", (1, 2), 1.5), "yes"),
        (stage("evicted", (1, 2), 3), "NO"),
        (stage("evicted", (1, 2), None), "-"),
        (stage("evicted", None, None), "yes"),
        (stage("evicted", None, 3), "NO"),
        (stage("evicted", None, 3, UNPREDICTED), "-"),
    ],
)
def test_what_never_came_and_never_should_is_as_predicted(made: Stage, word: str) -> None:
    assert fit(made) == word


def test_every_check_has_a_title() -> None:
    assert set(TITLES) == set(CHECKS)


def test_what_was_not_predicted_is_not_never_in_any_table() -> None:
    found = {note: stage("not_ready", None, 3.0, note) for note in (UNPREDICTED, "")}
    assert [band(one) for one in found.values()] == ["not predicted", "never"]
    assert [predicted(one) for one in found.values()] == ["not predicted", "predicted never"]
    assert band(stage("not_ready", (1, 2), None)) == "1.0-2.0"
