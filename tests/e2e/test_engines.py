"""The core of what a lab is, with either engine: up, the page, the pod network, a worker that dies, down."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from tests.e2e.conftest import LABCTL, Cli, taken_down
from tests.e2e.dockerd import running


@pytest.fixture(scope="module")
def dockerd() -> Iterator[dict[str, str]]:
    """The environment in which docker's client finds an engine."""
    with running() as env:
        yield env


@pytest.fixture(scope="module")
def docker_lab(home: Path, dockerd: dict[str, str]) -> Iterator[Cli]:
    """As the shared lab, in docker."""
    with taken_down(Cli(f"d-{os.getpid()}", home, home, dockerd, "docker")) as cli:
        cli.json("up", "--timing", "drill", "--provider", "docker")
        yield cli


@pytest.fixture(params=["podman", "docker"])
def each(request: pytest.FixtureRequest) -> Cli:
    """The lab of one engine."""
    found: Cli = request.getfixturevalue({"podman": "lab", "docker": "docker_lab"}[request.param])
    assert found.engine == request.param
    return found


def test_a_second_up_changes_nothing(each: Cli) -> None:
    result = each.json("up", "--timing", "drill")
    assert result["changed"] == 0
    assert [node["role"] for node in result["nodes"]] == ["control-plane", "worker", "worker"]
    assert all(node["ready"] for node in result["nodes"])


def test_the_page_comes_through_every_node(each: Cli) -> None:
    for node in each.json("status")["nodes"]:
        answer = urllib3.request("GET", f"http://{node['address']}:30080/", timeout=5)
        assert b"Hello World" in answer.data


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_pods_talk_across_nodes_by_address_and_by_name(each: Cli, worker: str) -> None:
    pods = json.loads(each.kubectl("get", "pods", "-l", "app.kubernetes.io/name=hello", "-o", "json"))["items"]
    assert len(pods) == 2
    targets = [pod["status"]["podIP"] for pod in pods] + ["hello.default.svc.cluster.local"]
    script = " && ".join(f"wget -q -T 5 -O - http://{target}/api" for target in targets)
    node = json.dumps({"apiVersion": "v1", "spec": {"nodeName": f"{each.lab}-{worker}"}})
    asker = f"asker-{worker}"
    words = ("--restart=Never", "--image=localhost/busybox:1", f"--overrides={node}")
    each.kubectl("run", asker, *words, "--command", "--", "sh", "-c", script)
    try:
        each.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{asker}", "--timeout=60s")
        assert each.kubectl("logs", asker).count('"pod"') == 3
    finally:
        each.kubectl("delete", "pod", asker)


def test_machines_have_cgroups_of_their_own(each: Cli) -> None:
    """Were a hierarchy shared, one machine's systemd or kubelet would clean up after another."""
    names = each.containers()
    assert len(names) == 3
    for name in names:
        pid, own = each.ask_engine("inspect", "--format", "{{.State.Pid}} {{.Id}}", name).split()
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        groups = {line.split(":")[1]: line.split(":")[2] for line in lines}
        assert own in groups.get("name=systemd", groups.get("", "")), groups


def test_what_a_loss_would_mean_is_said_without_one(each: Cli) -> None:
    victims = json.loads(each("drill", "worker-poweroff", "--plan", "--output", "json"))["victims"]
    assert len(victims) == 2
    fates = {pod["pod"].partition("/")[2]: pod["fate"] for victim in victims for pod in victim["pods"]}
    hello = {fate for name, fate in fates.items() if name.startswith("hello-") and name != "hello-world"}
    assert (fates["hello-world"], hello) == ("lost", {"comes back"})
    assert {fate for name, fate in fates.items() if name.startswith("kube-proxy")} == {"waits"}
    assert all(victim["settings"]["grace_s"] == 10 for victim in victims)
    assert [node["power"] for node in each.json("status")["nodes"]] == ["on"] * 3


def test_a_worker_dies_and_its_pods_come_back(each: Cli) -> None:
    verdict = each.json("drill", "worker-poweroff")
    assert verdict["verdict"] == "pass", verdict
    stages = {stage["name"]: stage for stage in verdict["stages"]}
    assert {"not_ready", "evicted", "replaced", "returned"} <= set(stages)
    assert all(stage["measured_s"] is not None for stage in stages.values())
    assert stages["not_ready"]["measured_s"] <= stages["evicted"]["measured_s"] <= stages["replaced"]["measured_s"]
    history = (Path(verdict["run_dir"]) / "history.jsonl").read_text().splitlines()
    assert sum('"request"' in line for line in history) > 100
    assert each.json("status")["broken"] == []
    assert each.json("up", "--timing", "drill")["changed"] == 0, "the drill left the lab as it found it"
    run = Path(verdict["run_dir"])
    page = (run / "report.html").read_text()
    assert f"{verdict['drill']} on {verdict['victim']}" in page
    again = subprocess.run(
        [str(LABCTL), "report", str(run), "--output", "json"], env={}, capture_output=True, check=False
    )
    assert json.loads(again.stdout) == verdict, again.stderr


def test_auto_takes_the_engine_that_works(dockerd: dict[str, str]) -> None:
    assert _working(dockerd) == "podman and docker"
    assert _working({**dockerd, "CONTAINER_HOST": "ssh://192.0.2.1/podman.sock"}) == "docker"
    assert _working({"DOCKER_HOST": "unix:///nowhere.sock"}) == "podman"


def _working(env: dict[str, str]) -> str:
    words = [str(LABCTL), "doctor", "--output", "json"]
    done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    seen = {check["name"]: str(check["seen"]) for check in json.loads(done.stdout)["checks"]}
    return seen["machines"].partition(" on ")[0]


def test_an_engine_on_another_machine_is_refused(home: Path) -> None:
    for provider, env in (
        ("docker", {"DOCKER_HOST": "tcp://192.0.2.1:2375"}),
        ("podman", {"CONTAINER_HOST": "ssh://192.0.2.1/podman.sock"}),
    ):
        cli = Cli(f"n-{os.getpid()}", home, home, more=env)
        cli("up", "--provider", provider, code=4)
        assert cli.last is not None
        assert "machines must be on this host" in cli.last.stderr
        assert f"unset {next(iter(env))}" in cli.last.stderr


def test_a_lab_stays_in_its_engine(docker_lab: Cli) -> None:
    docker_lab("up", "--timing", "drill", "--provider", "podman", code=2)
    assert docker_lab.last is not None
    assert "provider is docker, asked for podman" in docker_lab.last.stderr
    away = replace(docker_lab, more={"DOCKER_HOST": "unix:///nowhere.sock"})
    away("down", code=5)
    assert len(docker_lab.containers()) == 3, "a lab whose engine does not answer is not forgotten"
    status = docker_lab.json("status")
    assert (status["provider"], status["broken"]) == ("docker", [])


def test_down_finds_machines_whose_record_is_lost(docker_lab: Cli, home: Path) -> None:
    lost = Cli(f"lost-{os.getpid()}", home, home, docker_lab.more, "docker")
    labels = {"lab": lost.lab, "home": str(home), "role": "worker", "address": "10.203.0.20"}
    words = [word for key, value in labels.items() for word in ("--label", f"labctl.{key}={value}")]
    image = lost.ask_engine("inspect", "--format", "{{.Config.Image}}", f"{docker_lab.lab}-cp-1").strip()
    lost.ask_engine("create", "--name", f"{lost.lab}-worker-1", *words, image)
    assert lost.json("down")["removed"] == [f"{lost.lab}-worker-1"]
    assert lost.containers() == []
    assert len(docker_lab.containers()) == 3


@pytest.mark.parametrize("provider", ["podman", "docker"])
def test_a_user_without_root_is_told_what_is_missing(tmp_path: Path, provider: str) -> None:
    """As another user, who may read what the tests' user installed; with whatever this host delegates to that user."""
    tmp_path.chmod(0o777)
    (tmp_path / "labctl.yml").write_text(f"provider: {provider}\n")
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    env = {**os.environ, "HOME": str(tmp_path), "LABCTL_HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [*user, *reads, LABCTL, "up"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "machines need root" in done.stderr
    cgroup_v1 = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert ("this host has v1" in done.stderr) == cgroup_v1
    assert "delegate" in done.stderr
    assert "labctl with sudo" in done.stderr
