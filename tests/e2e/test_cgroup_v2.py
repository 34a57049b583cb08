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
PACKAGES = (
    "podman,netavark,crun,iptables,openssh-client,python3-venv,curl,zstd",
    "passt,uidmap,libpam-systemd,dbus-user-session,docker.io,docker-cli,rootlesskit,slirp4netns",  # without root
)
PYTHON = "3.13"
BUNDLES = "root/.cache/labctl/bundles"
# labctl from the wheel, a bundle and a base image: nothing is built there but the node image.
HOST = f"""
set -eu
cp -a wheels base.tar "$1/opt/" && chmod 644 "$1/opt/base.tar"
chroot "$1" python3 -m venv /opt/labctl
chroot "$1" sh -c '/opt/labctl/bin/pip install --quiet --no-index --no-deps /opt/wheels/*.whl'
rm -r "$1/opt/wheels"
ln -s /opt/labctl/bin/labctl "$1/usr/local/bin/"
# Root's docker would have the firewall drop what podman's bridges carry.
chroot "$1" systemctl mask --quiet docker.service docker.socket
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
    host.build(HOST, *PACKAGES)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """On, with labctl installed."""
    guest = Guest(tmp_path_factory.mktemp("host"))
    build(guest)
    guest.start()
    try:
        yield guest
    finally:
        guest.power_off()


PATIENT = "ANSIBLE_TIMEOUT=120"
"""For processes that start slowly."""


def a_lab(host: Guest, user: str, engine: str = "podman") -> None:
    """It comes up, loses its worker, gets it back, and goes without a trace."""

    def run(command: str) -> str:
        return host(f"export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/docker.sock; {command}", user)

    up = f"{PATIENT} labctl up --provider {engine} --workers 1 --output json"
    run(f"{engine} load --quiet --input /opt/base.tar")
    assert [node["ready"] for node in json.loads(run(up))["nodes"]] == [True, True]
    assert json.loads(run(up))["changed"] == 0
    # The kubelet's pods are in groups that systemd made.
    assert "kubepods-burstable.slice" in run(f"{engine} exec lab-cp-1 ls /sys/fs/cgroup/kubepods.slice")
    run(f"{engine} kill lab-worker-1")
    assert [node["ready"] for node in json.loads(run(up))["nodes"]] == [True, True]
    run("labctl down")
    assert run(f"{engine} ps --all --quiet; {engine} network ls --quiet --filter label=labctl.lab") == ""


def test_a_lab_on_cgroup_v2(host: Guest) -> None:
    assert host("stat -f -c %T /sys/fs/cgroup").strip() == "cgroup2fs"
    a_lab(host, "root")


@pytest.fixture(scope="module")
def ada(host: Guest) -> str:
    """A user. Debian 13 delegates less than a kubelet sets: labctl says so, and works once its advice was followed."""
    host("useradd --create-home --shell /bin/bash ada")
    host("cp -r /root/.ssh ~ada/ && chown -R ada: ~ada/.ssh")
    refused = host.ssh("labctl up", user="ada")
    assert refused.returncode == 4
    assert "cpuset, io not delegated to user@" in refused.stderr
    (fix,) = [line for line in refused.stderr.splitlines() if "fix: " in line]
    host(fix.partition("fix: ")[2].partition(", then log in anew")[0].replace("sudo ", ""))
    host("systemctl stop user@$(id -u ada)")
    host(f"mkdir -p ~ada/.cache/labctl && mv /{BUNDLES} ~ada/.cache/labctl/ && chown -R ada: ~ada/.cache")
    assert "labs go off when you log out (loginctl enable-linger ada" in host("labctl doctor", user="ada")
    host("loginctl enable-linger ada")
    return "ada"


def test_a_lab_in_rootless_podman(host: Guest, ada: str) -> None:
    a_lab(host, ada)
    host("test -S $XDG_RUNTIME_DIR/bus", ada)  # podman's end of a network once emptied this folder


def test_a_lab_in_rootless_docker(host: Guest, ada: str) -> None:
    host("PATH=$PATH:/usr/sbin:/usr/share/docker.io/contrib dockerd-rootless-setuptool.sh install", ada)
    a_lab(host, ada, "docker")
