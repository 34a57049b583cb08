"""Which machines the role refuses, and SELinux: by facts that are set, on no machine."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from labctl import paths

FACTS = {
    "service_mgr": "systemd",
    "pkg_mgr": "apt",
    "kernel": "6.12.1-amd64",
    "machine": "x86_64",
    "distribution": "Debian",
    "distribution_version": "13",
    "distribution_major_version": "13",
}
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {{cacheable: true, {facts}}}
    - ansible.builtin.include_role: {{name: node_base, tasks_from: {tasks}, rolespec_validate: false}}
"""


def play(
    folder: Path, tasks: str, facts: Mapping[str, object], *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    (folder / "manifest.json").write_text('{"arch": "amd64"}')
    given = ", ".join(f"{name}: {json.dumps(value)}" for name, value in facts.items())
    (folder / "play.yml").write_text(PLAY.format(facts=given, tasks=tasks))
    program = Path(sys.executable).parent / "ansible-playbook"
    hosts = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (folder / "hosts").write_text(hosts)
    return subprocess.run(
        [program, "-i", folder / "hosts", folder / "play.yml", "-e", f"lab_bundle={folder}", *words],
        env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_that_fits_is_taken(tmp_path: Path) -> None:
    done = play(tmp_path, "refuse", FACTS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"service_mgr": "openrc"}, "is run by openrc; labctl's units need systemd."),
        (
            {"distribution": "Fedora", "distribution_version": "44", "distribution_major_version": "44"},
            "has Fedora 44; labctl",
        ),
        (
            {"distribution_version": "11.1", "distribution_major_version": "11"},
            "has Debian 11.1; labctl knows Debian-12,",
        ),
        ({"kernel": "5.10.0-28-amd64"}, "has Linux 5.10.0-28-amd64;"),
        ({"machine": "aarch64"}, "is arm64, but the bundle is for amd64."),
        ({"machine": "riscv64"}, "is riscv64, but the bundle is for amd64."),
    ],
)
def test_a_machine_that_cannot_become_a_node_is_refused_with_a_sentence(
    fact: dict[str, object], said: str, tmp_path: Path
) -> None:
    done = play(tmp_path, "refuse", FACTS | fact)
    assert done.returncode == 2
    assert f"localhost {said}" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("selinux", "calls"),
    [
        ({"status": "enabled", "mode": "enforcing", "config_mode": "permissive"}, ["0"]),
        ({"status": "enabled", "mode": "permissive", "config_mode": "permissive"}, []),
    ],
)
def test_selinux_that_refuses_is_told_to_warn(selinux: dict[str, str], calls: list[str], tmp_path: Path) -> None:
    stand_in = tmp_path / "setenforce"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    stand_in.chmod(0o755)
    done = play(tmp_path, "selinux", {"selinux": selinux}, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stdout
    seen = (tmp_path / "calls").read_text().split() if calls else []
    assert seen == calls
    assert (tmp_path / "calls").exists() == bool(calls)
