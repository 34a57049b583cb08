"""A cluster that labctl did not make: bare machines, an inventory that a person wrote, ansible-playbook and pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from labctl import bundle, config, paths
from labctl.providers.node_image import NodeImage
from labctl.state import write_file
from tests.e2e.conftest import LABCTL

pytestmark = pytest.mark.slow  # bare machines install everything and unpack all images

BIN = Path(sys.executable).parent
ENV = {**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def inventory(home: Path) -> Iterator[Path]:
    """Two machines with sshd and nothing else, and the inventory that names them."""
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("LABCTL_HOME", str(home))
        hosts = {}
        for number in (1, 2):
            image = NodeImage(f"hand-{os.getpid()}-{number}")
            stack.callback(image.discard)
            machine, keys = image.start(lambda _: None)
            hosts[machine.name] = {
                "ansible_host": machine.address,
                "ansible_ssh_private_key_file": str(keys.ssh_key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={keys.known_hosts} -o StrictHostKeyChecking=yes",
                "node_address": machine.address,
                "node_pod_subnet": f"10.244.{number}.0/24",
            }
        first, second = hosts
        tree = {
            "all": {
                "vars": {"ansible_user": "root", "lab_bundle": str(found.path), "lab_name": "hand"},
                "children": {
                    "control_planes": {"hosts": {first: hosts[first]}},
                    "workers": {"hosts": {second: hosts[second]}},
                },
            }
        }
        path = home / "hand-inventory.yml"
        write_file(path, yaml.safe_dump(tree))
        yield path


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(word) for word in words]
    return subprocess.run(argv, cwd=cwd, env=ENV, capture_output=True, text=True, check=False)


def test_the_playbooks_make_a_cluster_that_is_what_it_claims_to_be(inventory: Path, tmp_path: Path) -> None:
    done = run(BIN / "ansible-playbook", "-i", inventory, paths.playbook("up.yml"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = run(BIN / "ansible-playbook", "-i", inventory, paths.playbook("up.yml"), cwd=tmp_path)
    recap = [line for line in again.stdout.splitlines() if "unreachable=" in line]
    assert recap, again.stdout + again.stderr
    assert all("changed=0" in line and "failed=0" in line for line in recap), again.stdout

    seen = run(LABCTL, "verify", "--inventory", inventory, "--output", "json", cwd=tmp_path)
    report = json.loads(seen.stdout)
    assert [r for r in report["results"] if r["status"] in ("failed", "error")] == []
    assert {r["subject"] for r in report["results"]} > {"cluster"}
    assert seen.returncode == 0

    for folder in paths.checks():
        plain = run(
            *(sys.executable, "-m", "pytest", "-q", folder, "--hosts=ansible://all"),
            f"--ansible-inventory={inventory}",
            cwd=tmp_path,
        )
        assert plain.returncode == 0, plain.stdout + plain.stderr
