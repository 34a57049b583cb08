from pathlib import Path

import pytest

from labctl import process
from labctl.config import MAX_SHUTDOWN_S
from labctl.process import Completed
from labctl.providers import container
from labctl.providers.engine import Container, Engine


def test_a_key_pair_is_whole_or_not_there_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(argv: list[str | Path]) -> Completed:
        Path(argv[-1]).write_text("private")
        raise KeyboardInterrupt

    def whole(argv: list[str | Path]) -> Completed:
        Path(argv[-1]).write_text("private")
        Path(f"{argv[-1]}.pub").write_text("ssh-ed25519 AAAA comment")
        return Completed((), 0, "", "")

    monkeypatch.setattr(process, "run", cut_off)
    with pytest.raises(KeyboardInterrupt):
        container.ensure_host_key(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(process, "run", whole)
    assert container.ensure_host_key(tmp_path) == "ssh-ed25519 AAAA"
    monkeypatch.setattr(process, "run", cut_off)
    assert container.ensure_host_key(tmp_path) == "ssh-ed25519 AAAA", "a key that is there is kept"


class Told(Engine):
    """An engine that only notes what it is asked; its machine is on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        self.asked.append((*map(str, words), f"check={check}"))
        return Completed((), 0, "", "")

    def containers(self, labels: dict[str, str] | list[str]) -> list[Container]:
        del labels
        return [Container("a-cp-1", {"labctl.role": "control-plane", "labctl.address": "10.0.0.2"}, "running")]

    def state(self, container: str) -> str:
        del container
        return "running"


def test_pods_may_end_before_the_engine_stops_a_machine_but_not_for_ever() -> None:
    engine = Told()
    container.ContainerProvider("a", engine).stop("a-cp-1")
    ended, stopped = engine.asked
    assert ended[:3] == ("exec", "a-cp-1", "timeout")
    assert int(ended[3]) > MAX_SHUTDOWN_S
    assert ended[-1] == "check=False", "a machine that does not answer is stopped all the same"
    assert stopped[0] == "stop"
