from pathlib import Path

import pytest

from labctl import process
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


class Switched(Engine):
    """A machine that goes off by one of these words, or never."""

    def __init__(self, off_by: str) -> None:
        super().__init__()
        self.off_by, self.is_on, self.asked = off_by, True, list[tuple[str, ...]]()

    def __call__(self, *words: str | Path, check: bool = True) -> Completed:
        del check
        self.asked.append(tuple(map(str, words)))
        self.is_on = self.is_on and self.off_by not in words
        return Completed((), 0, "", "")

    def containers(self, labels: dict[str, str] | list[str]) -> list[Container]:
        del labels
        return [Container("a-cp-1", {"labctl.role": "control-plane", "labctl.address": "10.0.0.2"}, self.state(""))]

    def state(self, container: str) -> str:
        del container
        return "running" if self.is_on else "exited"

    def wait_until_off(self, container: str, timeout_s: float) -> None:
        self.asked.append(("wait",))


@pytest.mark.parametrize(("off_by", "last"), [("poweroff", "wait"), ("stop", "stop")])
def test_a_machine_shuts_itself_down_and_is_not_started_again(off_by: str, last: str) -> None:
    """The engine's own stop, of which no kubelet hears, is for a machine that does not go."""
    engine = Switched(off_by)
    container.ContainerProvider("a", engine).stop("a-cp-1")
    assert engine.asked[0] == ("kill", "--signal", "CONT", "a-cp-1"), "else its restart policy starts it again"
    assert engine.asked[-1][0] == last
    assert not engine.is_on
