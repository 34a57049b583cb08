from collections.abc import Sequence
from pathlib import Path

import pytest

from labctl.providers import node_image
from labctl.providers.engine import Container, Engine


class FakeEngine(Engine):
    """One in whose store two caches bake."""

    def __init__(self, bakes: list[dict[str, str]]) -> None:
        super().__init__()
        self.bakes = bakes
        self.removed: list[str] = []

    def containers(self, labels: dict[str, str] | list[str]) -> list[Container]:
        names, values = ({word for word in labels if ("=" in word) == has} for has in (False, True))
        return [
            Container("x", bake, "running")
            for bake in self.bakes
            if names <= bake.keys() and values <= {f"{key}={value}" for key, value in bake.items()}
        ]

    def remove(self, containers: Sequence[str]) -> None:
        self.removed += containers


def test_engines_and_caches_that_share_nothing_share_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = set()
    for cache in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        keys |= {node_image.key_of("recipe", Engine(name)) for name in ("podman", "docker")}
    assert len(keys) == 4


def test_a_bake_of_another_cache_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    own = {"labctl.bake": "mine", "labctl.cache": str(tmp_path / "labctl")}
    engine = FakeEngine([own, {"labctl.bake": "theirs", "labctl.cache": "/elsewhere"}])
    node_image.discard_unfinished(engine)
    assert engine.removed == ["labctl-bake-mine"]
    engine.removed.clear()
    with node_image.NodeImage("mine", engine).lock():
        node_image.discard_unfinished(engine)
    assert engine.removed == [], "another labctl is at work on it"
