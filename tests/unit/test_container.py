from pathlib import Path

import pytest

from labctl import process
from labctl.process import Completed
from labctl.providers import container


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
