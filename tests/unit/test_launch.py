from dataclasses import replace
from pathlib import Path

import pytest

from labctl.providers import host, launch
from labctl.providers.engine import Engine
from labctl.providers.host import HostFacts

MODERN = HostFacts(cgroup=2, max_files=1, max_processes=1, can_sys_admin=True, can_sys_resource=True)


def _words(monkeypatch: pytest.MonkeyPatch, engine: str, facts: HostFacts) -> list[str]:
    monkeypatch.setattr(host, "look", lambda: facts)
    return launch.machine(Engine(engine), "a-cp-1", Path("/d"), {"labctl.lab": "a"}, "image", "--ip", "10.203.0.10")


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_machine_is_privileged_has_its_disk_and_runs_the_images_init(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    words = _words(monkeypatch, engine, MODERN)
    assert "--privileged" in words
    assert words[words.index("--volume") + 1].startswith("/d:/var")
    assert words[words.index("--label") + 1] == "labctl.lab=a"
    assert words[-3:] == ["--ip", "10.203.0.10", "image"]
    assert "SYSTEMD_PROC_CMDLINE" not in " ".join(words)


def test_podmans_systemd_mode_is_off_where_it_would_share_the_hosts_hierarchy(monkeypatch: pytest.MonkeyPatch) -> None:
    legacy = replace(MODERN, cgroup=1)
    assert "--systemd=always" in _words(monkeypatch, "podman", MODERN)
    assert "--systemd=false" in _words(monkeypatch, "podman", legacy)
    for engine in ("podman", "docker"):
        assert "SYSTEMD_PROC_CMDLINE" in " ".join(_words(monkeypatch, engine, legacy))


def test_docker_asks_for_what_there_is_where_a_capability_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = replace(MODERN, can_sys_resource=False)
    words = _words(monkeypatch, "docker", weak)
    assert "--privileged" not in words
    assert {"--cap-add=ALL", "--cap-drop=SYS_RESOURCE"} <= set(words)
    assert words[-4:-1] == ["image", "sh", "-c"]
    assert words[-1].endswith("exec /sbin/init")
    assert "--privileged" in _words(monkeypatch, "podman", weak), "podman drops by itself what cannot be had"
