import json
import os
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from pytest_subprocess import FakeProcess

from labctl.errors import ProviderError
from labctl.providers.engine import Container, Engine, Network

LABELS = {"labctl.lab": "a"}
PODMAN_NETWORK = {
    "name": "labctl-a",
    "network_interface": "podman1",
    "subnets": [{"subnet": "fd00::/64"}, {"subnet": "10.203.0.0/24"}],
    "labels": LABELS,
}
DOCKER_NETWORK = {
    "Name": "labctl-a",
    "Id": "0123456789abcdef",
    "IPAM": {"Config": [{"Subnet": "10.203.0.0/24", "Gateway": "10.203.0.1"}]},
    "Labels": LABELS,
}
DOCKER_DEFAULT = {
    "Name": "bridge",
    "Id": "fedcba9876543210",
    "IPAM": {"Config": None},
    "Options": {"com.docker.network.bridge.name": "docker0"},
}
GONE = 2**22 + 1
"""no process has that number"""


@pytest.mark.parametrize(("name", "said"), [("podman", "a-cp-1"), ("docker", "/a-cp-1")])
def test_containers_look_the_same_in_both(fp: FakeProcess, name: str, said: str) -> None:
    fp.register([name, "ps", "--all", "--quiet", "--filter", "label=labctl.lab=a"], stdout="1f\n2f\n")
    found = [{"Name": said, "Config": {"Labels": {"labctl.home": "/a,b=c"}}, "State": {"Status": "exited"}}]
    # 2f was removed meanwhile: the command fails, and prints the other.
    fp.register([name, "inspect", "--type", "container", "1f", "2f"], stdout=json.dumps(found), returncode=1)
    assert Engine(name).containers({"labctl.lab": "a"}) == [Container("a-cp-1", {"labctl.home": "/a,b=c"}, "exited")]


@pytest.mark.parametrize(
    ("name", "status", "pids", "found"),
    [
        ("podman", "running", (GONE, GONE), "exited"),
        ("podman", "stopping", (GONE, GONE), "exited"),
        ("podman", "running", (os.getpid(), GONE), "running"),
        ("podman", "running", (GONE, os.getpid()), "running"),  # it will tell podman
        ("podman", "paused", (GONE, GONE), "paused"),
        ("docker", "running", (GONE, GONE), "running"),
    ],
)
def test_podman_is_told_of_a_container_that_ended_with_its_monitor(
    fp: FakeProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    status: str,
    pids: tuple[int, int],
    found: str,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    fp.register([name, "ps", fp.any()], stdout="1f\n")
    state = {"Status": status, "Pid": pids[0], "ConmonPid": pids[1]}
    items = [{"Id": "1f00", "Name": "a-cp-1", "Config": {"Labels": {}}, "State": state}]
    fp.register([name, "inspect", fp.any()], stdout=json.dumps(items))
    (container,) = Engine(name).containers({"labctl.lab": "a"})
    assert container.state == found
    told = tmp_path / "libpod" / "tmp" / "exits" / "1f00"
    assert (told.read_text() if told.exists() else "") == ("137" if found == "exited" else "")


def test_no_containers(fp: FakeProcess) -> None:
    fp.register(["docker", "ps", "--all", "--quiet", "--filter", "label=labctl.bake"], stdout="")
    assert Engine("docker").containers(["labctl.bake"]) == []


@pytest.mark.parametrize(
    ("name", "said", "interface"),
    [("podman", [PODMAN_NETWORK], "podman1"), ("docker", [DOCKER_NETWORK, DOCKER_DEFAULT], "br-0123456789ab")],
)
def test_networks_look_the_same_in_both(fp: FakeProcess, name: str, said: list[object], interface: str) -> None:
    fp.register([name, "network", "ls", "--quiet"], stdout="x")
    fp.register([name, "network", "inspect", "x"], stdout=json.dumps(said))
    first, *others = Engine(name).networks()
    assert first == Network("labctl-a", (IPv4Network("10.203.0.0/24"),), LABELS, interface)
    assert [other.interface for other in others] == ["docker0"] * len(others)


def test_a_docker_client_without_a_daemon_may_end_with_0(fp: FakeProcess) -> None:
    words = ["docker", "info", "--format", "{{json .}}"]
    fp.register(words, stdout=json.dumps({"ServerErrors": ["Is the docker daemon running?"]}), returncode=0)
    with pytest.raises(ProviderError, match="Is the docker daemon running"):
        Engine("docker").info()
    fp.register(words, stderr="permission denied", returncode=1)
    with pytest.raises(ProviderError, match="permission denied"):
        Engine("docker").info()
    fp.register(words, stdout=json.dumps({"ServerErrors": None, "OSType": "linux"}))
    assert Engine("docker").info()["OSType"] == "linux"


def test_a_command_that_a_killed_labctl_began_is_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "engine-of-this-test"
    program.symlink_to(sys.executable)
    script = "import time; time.sleep(1)"
    with subprocess.Popen([program, "-c", script, "run", "--label", "labctl.lab=mine"]) as left:
        Engine(program.name).settle("labctl.lab=another")
        assert left.poll() is None
        Engine(program.name).settle("labctl.lab=mine")
        assert not Path(f"/proc/{left.pid}").exists()
