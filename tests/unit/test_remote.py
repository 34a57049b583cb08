"""What a machine says over SSH; ssh is stood in for."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import remote
from labctl.providers.base import Machine, Way


@pytest.mark.parametrize("noise", ["echo HELLO", "printf HELLO", ":"])
def test_what_the_users_shell_says_first_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: str
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\n{noise}\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(remote, "way_to", lambda _lab, _machine: Way(("ssh", "one"), is_root=True))
    one = Machine("one", "worker", "192.0.2.1", "on")
    assert remote.run_on("lab", one, ["printf", "%s\n", "a b"]) == "a b\n"
