"""The pods of the deep checks, in a cluster that refuses them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labctl.verify.expect import NothingToSeeError
from labctl.verify.probes import Probes

REFUSAL = "Error from server: admission webhook no.example denied the request: no pods today"


def test_a_refusal_is_told_once_with_its_own_remedy_and_the_others_are_skipped() -> None:
    done: Any = SimpleNamespace(rc=1, stdout="", stderr="\n".join([REFUSAL] * 4))
    cluster: Any = SimpleNamespace(
        nodes=["one"], run=lambda *_: SimpleNamespace(rc=0, stdout="", stderr=""), sh=lambda *_: done
    )
    probes = Probes(cluster)
    probes.begin()
    for _ in range(2):
        with pytest.raises(NothingToSeeError) as caught:
            probes.for_check("CLUSTER-022")
        assert str(caught.value) == f"the probes could not be made: {REFUSAL}"
        assert "validatingwebhookconfigurations" in caught.value.fix
    with pytest.raises(pytest.skip.Exception, match="the probes could not be made: see CLUSTER-022"):
        probes.for_check("CLUSTER-023")


def test_probes_that_are_there_are_for_every_check() -> None:
    probes = Probes(SimpleNamespace(nodes=[]))  # type: ignore[arg-type] # it is not asked
    assert probes.for_check("CLUSTER-023") is probes


def test_a_namespace_that_is_somebody_elses_is_left_alone() -> None:
    asked: list[str] = []

    def run(command: str, *_: str) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(rc=0, stdout='{"metadata": {"labels": {"team": "mine"}}}', stderr="")

    probes = Probes(SimpleNamespace(nodes=["one"], run=run))  # type: ignore[arg-type] # all that it is asked for
    probes.begin()
    with pytest.raises(NothingToSeeError, match="without labctl's label"):
        probes.for_check("CLUSTER-022")
    probes.remove()
    assert not any("delete" in command for command in asked)
