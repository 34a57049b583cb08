"""The module node_files, through Ansible itself."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from labctl import paths

ANSIBLE = Path(sys.executable).parent / "ansible"


def run(*words: str, check: bool = False, **options: object) -> dict[str, Any]:
    done = subprocess.run(
        [str(ANSIBLE), "localhost", "-m", "node_files", "-a", json.dumps(options), *(["--check"] if check else [])],
        env={"PATH": "/usr/bin:/bin", "ANSIBLE_CONFIG": str(paths.ansible_config()), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    head, _, body = done.stdout.partition("=>")
    assert "SUCCESS" in head or "CHANGED" in head, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(body) if body.strip().startswith("{") else {"text": body}
    return result


def test_it_writes_what_differs_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "new" / "settings"
    wanted = [{"path": str(file), "content": "a\n", "mode": "0600"}]
    assert "changed: false" not in run(files=wanted, check=True)["text"]
    assert not file.exists(), "check mode changes nothing"
    assert "changed: true" in run(files=wanted)["text"]
    assert file.read_text() == "a\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "changed: false" in run(files=wanted)["text"]
    file.chmod(0o644)
    assert "changed: true" in run(files=wanted)["text"], "the mode is part of it"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
