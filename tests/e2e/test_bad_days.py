"""Bad days for real: each is said in a sentence before anything is changed, and the same command works afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl import bundle, config, process
from tests.e2e.conftest import Cli, podman

UP = ("up", "--timing", "drill")
ONE = ("up", "--workers", "0")


def said(cli: Cli, *words: str, code: int) -> str:
    """What the command tells on stderr as it ends with `code`."""
    cli(*words, code=code)
    assert cli.last is not None
    return cli.last.stderr


def test_a_renamed_machine_is_named_and_up_goes_on_after_it_has_its_name_back(lab: Cli) -> None:
    name, mine = f"{lab.lab}-worker-1", f"{lab.lab}-mine"
    podman("rename", name, mine)
    try:
        sentence = f"the machine {name} was renamed to {mine}"
        assert any(line.startswith(sentence) for line in lab.json("status")["broken"])
        text = said(lab, *UP, code=4)
        assert f"{sentence}\n    fix: podman rename {mine} {name}" in text
        assert len(lab.containers()) == 3
    finally:
        podman("rename", mine, name)
    assert lab.json(*UP)["changed"] == 0


def test_a_paused_machine_goes_on_with_up(lab: Cli) -> None:
    podman("pause", f"{lab.lab}-worker-2")
    assert [node["power"] for node in lab.json("status")["nodes"]] == ["on", "on", "paused"]
    assert [node["ready"] for node in lab.json(*UP)["nodes"]] == [True] * 3
    assert lab.last is not None
    assert f"{lab.lab}-worker-2 was paused: switched on" in lab.last.stderr


def test_a_machine_that_was_killed_with_podmans_monitor_comes_back(lab: Cli) -> None:
    name = f"{lab.lab}-worker-1"
    for pid in podman("inspect", "--format", "{{.State.ConmonPid}} {{.State.Pid}}", name).split():
        os.kill(int(pid), signal.SIGKILL)  # the monitor first: it must not see the other end
        while process.is_alive(int(pid)):  # the first of a machine's processes ends after all others
            time.sleep(0.05)
    assert [node["power"] for node in lab.json("status")["nodes"]] == ["on", "off", "on"]
    assert [node["ready"] for node in lab.json(*UP)["nodes"]] == [True] * 3
    assert lab.json(*UP)["changed"] == 0


def test_a_worker_that_somebody_has_reset_joins_again(lab: Cli) -> None:
    podman("exec", f"{lab.lab}-worker-2", "kubeadm", "reset", "--force")
    assert [node["ready"] for node in lab.json(*UP)["nodes"]] == [True] * 3
    assert lab.json(*UP)["changed"] == 0


def test_a_record_from_a_newer_labctl_is_left_alone(lab: Cli, home: Path) -> None:
    record = home / "labs" / lab.lab / "lab.json"
    before = record.read_text()
    record.write_text(json.dumps({**json.loads(before), "schema_version": 99, "more": 1}))
    try:
        assert "is from a newer labctl (schema 99, here 1)" in said(lab, *UP, code=8)
    finally:
        record.write_text(before)


def test_a_route_that_a_vpn_took_is_named(lab: Cli) -> None:
    address = lab.json("status")["nodes"][0]["address"]
    route = f"{address.rpartition('.')[0]}.128/25"
    subprocess.run(["ip", "route", "add", "blackhole", route], check=True)
    try:
        assert f"(a VPN?): {route}" in said(lab, *UP, code=2)
    finally:
        subprocess.run(["ip", "route", "del", "blackhole", route], check=True)
    assert lab.json(*UP)["changed"] == 0


def test_a_subnet_in_use_is_refused_before_anything_is_made(lab: Cli, other: Cli, home: Path) -> None:
    subnet = lab.json("status")["nodes"][0]["address"].rpartition(".")[0] + ".0/24"
    file = home / "taken.yml"
    file.write_text(f"networks: {{machines: {subnet}}}\n")
    text = said(other, "up", "--config", str(file), code=2)
    assert f"networks.machines: {subnet} overlaps {subnet}, which this host already uses" in text
    assert not (home / "labs" / other.lab).exists()


def test_a_name_that_a_strangers_container_has_is_left_to_it(lab: Cli, other: Cli) -> None:
    stranger = f"{other.lab}-cp-1"
    image = podman("inspect", "--format", "{{.ImageName}}", f"{lab.lab}-cp-1").strip()
    podman("create", "--name", stranger, "--network", "none", image)
    try:
        assert f"the name {stranger} is taken" in said(other, *ONE, code=4)
        other("down")
        assert podman("ps", "-a", "--filter", f"name=^{stranger}$", "--format", "{{.Names}}").split() == [stranger]
    finally:
        podman("rm", "--force", stranger)


def test_a_lab_that_lost_its_folder_or_its_control_plane_is_made_anew(other: Cli, home: Path) -> None:
    other.json(*ONE)
    folder, aside = home / "labs" / other.lab, home / "aside"
    folder.rename(aside)
    text = said(other, *ONE, code=4)
    assert "with their keys and disks is gone" in text
    assert f"fix: labctl down --lab {other.lab}, then labctl up" in text
    aside.rename(folder)
    podman("rm", "--force", "--time", "0", f"{other.lab}-cp-1")
    text = said(other, *ONE, code=4)
    assert f"the control plane {other.lab}-cp-1 is gone" in text
    assert any("the control plane" in line for line in other.json("status")["broken"])
    other("down")
    assert other.json(*ONE)["nodes"][0]["ready"]


@pytest.fixture
def elsewhere(other: Cli, disk: Callable[..., Path]) -> Iterator[Callable[[Path], Cli]]:
    """The other lab with its LABCTL_HOME in a folder of one's own; down before the disk is unmounted."""
    made: list[Cli] = []

    def move(folder: Path) -> Cli:
        made.append(Cli(other.lab, folder / "home", other.cwd))
        return made[-1]

    yield move
    for cli in made:
        cli("down")


def test_a_disk_that_is_nearly_full(elsewhere: Callable[[Path], Cli], disk: Callable[..., Path]) -> None:
    folder = disk(300)
    cli = elsewhere(folder)
    text = said(cli, *ONE, code=4)
    assert f"disk: 0.3 GB free at {folder}" in text
    assert "LABCTL_HOME" in text
    assert cli.containers() == []
    assert not (cli.home / "labs" / cli.lab).exists()


@pytest.mark.parametrize(
    ("moment", "left_mib"),
    [
        ("machines: starting them", 200),
        # etcd cannot write, and kubeadm waits four minutes for it.
        pytest.param("control_plane : Start the cluster", 1, marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_is_full_in_the_middle(
    elsewhere: Callable[[Path], Cli], disk: Callable[..., Path], moment: str, left_mib: int
) -> None:
    folder = disk(4000)
    cli = elsewhere(folder)
    filler = folder / "filler"
    up = subprocess.Popen(
        cli.argv(*ONE), env=cli.env, cwd=cli.cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert up.stderr is not None
    lines = []
    for line in up.stderr:
        lines.append(line)
        if moment in line and not filler.exists():
            # By now the space was looked at and found enough.
            size = shutil.disk_usage(folder).free - left_mib * 1024**2
            subprocess.run(["fallocate", "-l", str(size), filler], check=True)
    text = "".join(lines)
    assert up.wait() in (5, 6, 8), text
    assert "Traceback" not in text
    assert "No space left on device" in text
    assert "the disk is full: free some space" in text
    filler.unlink()
    assert cli.json(*ONE)["nodes"][0]["ready"]
    assert cli.json(*ONE)["changed"] == 0


def test_a_state_folder_that_is_read_only(elsewhere: Callable[[Path], Cli], disk: Callable[..., Path]) -> None:
    folder = disk(50)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    cli = elsewhere(folder)
    assert "the disk is read-only" in said(cli, *ONE, code=8)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def test_a_corrupt_bundle_is_not_installed_from(other: Cli, tmp_path: Path) -> None:
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    cache = tmp_path / "cache"
    copy = cache / "labctl" / "bundles" / found.path.name
    shutil.copytree(found.path, copy, copy_function=lambda a, b: Path(b).hardlink_to(a))
    kubelet = copy / "bin" / "kubelet"
    damaged = bytearray(kubelet.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kubelet.unlink()
    kubelet.write_bytes(damaged)
    kubelet.chmod(0o755)
    cli = Cli(other.lab, other.home, other.cwd, {"XDG_CACHE_HOME": str(cache)})
    text = said(cli, *ONE, code=8)
    assert f"the bundle {copy} is damaged: wrong checksum: bin/kubelet" in text
    assert f"rm -r {copy}" in text
    assert cli.containers() == []
    assert not (other.home / "labs" / other.lab).exists()
