"""Every check of `labctl verify` is able to fail: a lab is broken in one way, and exactly the right checks say so."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.e2e.breakers import BREAKERS
from tests.e2e.breakers.breaker import KUBECTL, Breaker
from tests.e2e.conftest import Cli

FELT_WITHIN_S = 120
QUICK_LOOK = {"NODE-001"}
"""Whose breakers are part of `make test`; the others take too long."""


def on_node(lab: Cli, node: str, command: str) -> subprocess.CompletedProcess[str]:
    argv = ["podman", "exec", f"{lab.lab}-{node}", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def do(lab: Cli, node: str, command: str) -> None:
    done = on_node(lab, node, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def wait(lab: Cli, command: str) -> None:
    end = time.monotonic() + FELT_WITHIN_S
    while (done := on_node(lab, "cp-1", command)).returncode != 0:
        assert time.monotonic() < end, f"{command}: not within {FELT_WITHIN_S} s\n{done.stdout}\n{done.stderr}"
        time.sleep(0.2)


def bad(lab: Cli, *words: str, code: int) -> dict[tuple[str, str], str]:
    report = lab.json("verify", *words, code=code)
    return {
        (result["id"], result["subject"]): f"{result['status']}: {result['seen']}"
        for result in report["results"]
        if result["status"] in ("failed", "error")
    }


def parameter(breaker: Breaker) -> object:
    marks = [] if breaker.checks & QUICK_LOOK else [pytest.mark.slow]
    return pytest.param(breaker, id="+".join(sorted(breaker.checks)), marks=marks)


def test_a_lab_as_up_leaves_it_passes_all_checks(lab: Cli) -> None:
    assert bad(lab, "--deep", code=0) == {}


def test_a_machine_that_is_off_is_one_finding_and_what_the_others_say_of_it(lab: Cli) -> None:
    machine = f"{lab.lab}-worker-1"
    lab.ask_engine("pause", machine)
    try:
        found = bad(lab, code=1)
    finally:
        lab.ask_engine("unpause", machine)
    assert ("NODE-001", machine) in found
    # Whether its node is NotReady yet, and with it a server of the cluster's DNS, is a question of seconds.
    later = {"CLUSTER-001", "CLUSTER-003", "CLUSTER-004", "CLUSTER-016", "CLUSTER-020"}
    assert {check for check, _ in found} <= {"NODE-001", *later}
    assert bad(lab, code=0) == {}


def test_kube_proxy_finds_its_table_again(lab: Cli) -> None:
    for _ in range(2):  # what it does not recognise, it deletes at one start, and writes at the next
        lab.kubectl("-n", "kube-system", "rollout", "restart", "daemonset", "kube-proxy")
        lab.kubectl("-n", "kube-system", "rollout", "status", "daemonset", "kube-proxy", "--timeout=120s")
        assert bad(lab, "--only", "CLUSTER-019", code=0) == {}


@pytest.mark.parametrize("breaker", [parameter(breaker) for breaker in BREAKERS])
def test_a_broken_lab_fails_exactly_the_checks_that_should(lab: Cli, breaker: Breaker, deep: set[str]) -> None:
    words = ["--deep"] if breaker.checks & deep else []
    try:
        do(lab, breaker.on, breaker.harm)
        wait(lab, breaker.felt)
        found = bad(lab, *words, code=1)
    finally:
        do(lab, breaker.on, breaker.mend)
        wait(lab, breaker.well)
        # What the cluster said of it would be a surprise to the next.
        do(lab, "cp-1", f"{KUBECTL} delete events --all-namespaces --field-selector=type=Warning")
    assert {key: found[key] for key in found if key not in breaker.expected(lab.lab)} == {}
    assert set(found) == breaker.expected(lab.lab)


@pytest.fixture(scope="module")
def deep(lab: Cli) -> set[str]:
    """The numbers of checks that are only made with --deep."""
    return {check["id"] for check in lab.json("verify --list")["checks"] if check["deep"]}


def test_a_lab_that_was_mended_passes_all_checks_again(lab: Cli) -> None:
    assert bad(lab, "--deep", code=0) == {}
