"""A host with cgroup v2: User-mode Linux, for this one may have v1."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import bundle, config
from labctl.providers import rootfs
from labctl.providers.engine import Engine
from tests.e2e.uml.guest import Guest

pytestmark = pytest.mark.slow  # a kernel is built, a node image is baked, and each new process takes its time

ROOT = Path(__file__).parents[2]
PACKAGES = "podman,netavark,crun,iptables,openssh-client,python3-venv,curl,zstd"
PYTHON = "3.13"
BUNDLES = "root/.cache/labctl/bundles"
# labctl from the wheel, a bundle and a base image: nothing is built there but the node image.
HOST = f"""
set -eu
cp -a wheels base.tar "$1/opt/"
chroot "$1" python3 -m venv /opt/labctl
chroot "$1" sh -c '/opt/labctl/bin/pip install --quiet --no-index --no-deps /opt/wheels/*.whl'
rm -r "$1/opt/wheels"
ln -s /opt/labctl/bin/labctl "$1/usr/local/bin/"
printf 'fs.inotify.max_user_%s\\n' instances=512 watches=524288 > "$1/etc/sysctl.d/60-labctl.conf"
mkdir -p "$1/{BUNDLES}" && cp -aH bundle/* "$1/{BUNDLES}/"
"""


def build(host: Guest) -> None:
    """Its disk."""
    wheels, pip = host.folder / "wheels", [sys.executable, "-m", "pip", "--quiet"]
    there = ["--python-version", PYTHON, "--only-binary=:all:", "--require-hashes"]
    lock = ROOT / "constraints" / "run.txt"
    subprocess.run([*pip, "download", *there, "-r", lock, "-d", wheels], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT], check=True)
    engine = Engine()
    base = rootfs.ensure(engine, {}, lambda _event: None)
    engine("save", "--output", host.folder / "base.tar", base)
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    (host.folder / "bundle").mkdir()
    (host.folder / "bundle" / found.path.name).symlink_to(found.path)
    host.build(HOST, PACKAGES)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """On, with labctl installed."""
    guest = Guest(tmp_path_factory.mktemp("host"))
    build(guest)
    guest.start()
    try:
        guest("podman load --quiet --input /opt/base.tar && rm /opt/base.tar")
        yield guest
    finally:
        guest.power_off()


def test_a_lab_on_cgroup_v2(host: Guest) -> None:
    assert host("stat -f -c %T /sys/fs/cgroup").strip() == "cgroup2fs"
    # Patience for processes that start slowly.
    up = json.loads(host("ANSIBLE_TIMEOUT=120 labctl up --workers 1 --output json"))
    assert [node["ready"] for node in up["nodes"]] == [True, True]
    assert json.loads(host("ANSIBLE_TIMEOUT=120 labctl up --workers 1 --output json"))["changed"] == 0
    # The kubelet's pods are in groups that systemd made.
    groups = host("podman exec lab-cp-1 ls /sys/fs/cgroup/kubepods.slice")
    assert "kubepods-burstable.slice" in groups
    host("labctl down")
    assert host("podman ps --all --quiet; podman network ls --quiet --filter label=labctl.lab") == ""
