"""What the scheduler still has to give away, as Kubernetes counts it."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.kube.cpu import free, millicores, requested

NODE = {"status": {"allocatable": {"cpu": "2"}}}


def asks(cpu: str, **more: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("quantity", "thousandths"),
    [("2", 2000), ("0.5", 500), ("250m", 250), ("1k", 1_000_000), ("1500u", 2), ("1n", 1), ("1e1", 10_000), ("0", 0)],
)
def test_a_quantity_is_rounded_up_to_millicores(quantity: str, thousandths: int) -> None:
    assert millicores(quantity) == thousandths


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"containers": [{}]}, 0),
        ({"containers": [asks("100m"), asks("50m")]}, 150),
        ({"containers": [asks("100m")], "initContainers": [asks("300m"), asks("200m")]}, 300),
        ({"containers": [asks("100m")], "initContainers": [asks("60m", restartPolicy="Always"), asks("70m")]}, 160),
        ({"containers": [asks("100m")], "initContainers": [asks("60m", restartPolicy="Always"), asks("90m")]}, 160),
        ({"containers": [asks("100m")], "initContainers": [asks("60m", restartPolicy="Always"), asks("110m")]}, 170),
        ({"containers": [asks("100m")], "overhead": {"cpu": "20m"}}, 120),
        ({"containers": [asks("100m")], "overhead": {"cpu": "20m"}, **asks("400m")}, 420),
    ],
    ids=["nothing", "together", "init", "sidecar", "sidecar and a small init", "sidecar and init", "overhead", "pod"],
)
def test_a_pod_counts_with_what_it_requests(spec: dict[str, Any], wanted: int) -> None:
    assert requested({"spec": spec}) == wanted


def test_a_pod_that_ended_holds_nothing() -> None:
    spec = {"containers": [asks("300m")]}
    pods = [{"spec": spec, "status": {"phase": phase}} for phase in ("Running", "Pending", "Succeeded", "Failed")]
    assert free(NODE, pods) == 2000 - 2 * 300
