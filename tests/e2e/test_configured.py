"""What labctl.yml asks for, on a real lab: sizes, labels, taints, mounts, ports, and ways to registries."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.e2e import registry
from tests.e2e.conftest import Cli, podman, taken_down

PORT_INSIDE = 30080


@pytest.fixture(scope="module")
def wishes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the lab's labctl.yml says; tests change it and write it anew."""
    data = tmp_path_factory.mktemp("data")
    (data / "greeting").write_text("from the host")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "workers": 1,
        "timing": "drill",
        "node": {"memory": "1500Mi", "labels": {"tier": "lab"}},
        "nodes": {
            "cp-1": {"ports": [{"host": port, "machine": PORT_INSIDE}]},
            "worker-1": {
                "cpus": 1.5 if (os.cpu_count() or 1) > 1 else 0.5,
                "labels": {"disk": "ssd"},
                "taints": ["dedicated=db:PreferNoSchedule"],
                "mounts": [{"host": str(data), "machine": "/mnt/data", "read_only": True}],
            },
        },
    }


@pytest.fixture(scope="module")
def configured(home: Path, wishes: dict[str, Any]) -> Iterator[Cli]:
    """A lab with all of it."""
    with taken_down(Cli(f"c-{os.getpid()}", home, home)) as cli:
        _up(cli, wishes)
        yield cli


def _up(cli: Cli, wishes: dict[str, Any]) -> int:
    """`labctl up` with the wishes; how much changed."""
    file = cli.home / "configured.yml"
    file.write_text(yaml.safe_dump(wishes))
    return int(cli.json("up", "--config", str(file))["changed"])


def _node(cli: Cli, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.kubectl("get", "node", f"{cli.lab}-{name}", "-o", "json"))
    return found


def _run(cli: Cli, name: str, image: str, command: str, spec: dict[str, Any] | None = None) -> str:
    """What a pod's shell prints on worker-1."""
    container = {"name": "c", "image": image, "command": ["sh", "-c", command]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": f"{cli.lab}-worker-1",
            "containers": [container],
            **(spec or {}),
        },
    }
    file = cli.home / f"{name}.json"
    file.write_text(json.dumps(pod))
    cli.kubectl("apply", "-f", str(file))
    try:
        cli.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
        return cli.kubectl("logs", name)
    finally:
        cli.kubectl("delete", "pod", name)


def test_a_second_up_changes_nothing(configured: Cli, wishes: dict[str, Any]) -> None:
    assert _up(configured, wishes) == 0


def test_the_kubelet_reports_the_machines_size(configured: Cli, wishes: dict[str, Any]) -> None:
    for name in ("cp-1", "worker-1"):
        assert _node(configured, name)["status"]["capacity"]["memory"] == "1500Mi"
    cpus = wishes["nodes"]["worker-1"]["cpus"]
    status = _node(configured, "worker-1")["status"]
    assert status["capacity"]["cpu"] == str(int(cpus + 0.5))
    assert status["allocatable"]["cpu"] == f"{int(cpus * 1000)}m"
    assert _node(configured, "cp-1")["status"]["capacity"]["cpu"] == str(os.cpu_count())


def test_the_size_holds(configured: Cli) -> None:
    limit = podman("inspect", "--format", "{{.HostConfig.Memory}}", f"{configured.lab}-worker-1")
    assert int(limit) == 1500 * 1024**2
    total = configured("ssh", "worker-1", "--", "grep", "MemTotal", "/proc/meminfo")
    assert total.split() == ["MemTotal:", str(1500 * 1024), "kB"]
    greedy = "head -c 2000000000 /dev/zero | tail | wc -c || true; dmesg >/dev/null 2>&1; echo survived"
    assert "2000000000" not in _run(configured, "greedy", "localhost/busybox:1", greedy), "more than the machine has"


def test_pods_with_a_user_namespace_run_on_a_machine_with_a_size(configured: Cli) -> None:
    assert (
        _run(configured, "userns", "localhost/busybox:1", "cat /proc/self/uid_map", {"hostUsers": False}).split()[1]
        != "0"
    )


def test_labels_and_taints_follow_the_file(configured: Cli, wishes: dict[str, Any]) -> None:
    configured.kubectl("label", "node", f"{configured.lab}-worker-1", "mine=yes")
    worker = _node(configured, "worker-1")
    assert {"tier": "lab", "disk": "ssd"}.items() <= worker["metadata"]["labels"].items()
    assert worker["spec"]["taints"] == [{"key": "dedicated", "value": "db", "effect": "PreferNoSchedule"}]
    wishes["nodes"]["worker-1"] |= {"labels": {"rack": "7"}, "taints": []}
    assert _up(configured, wishes) > 0
    assert _up(configured, wishes) == 0
    worker = _node(configured, "worker-1")
    assert {"tier": "lab", "rack": "7", "mine": "yes"}.items() <= worker["metadata"]["labels"].items()
    assert "disk" not in worker["metadata"]["labels"]
    assert "taints" not in worker["spec"]
    assert "node-role.kubernetes.io/control-plane" in json.dumps(_node(configured, "cp-1")["spec"]["taints"])


def test_a_mount_is_seen_and_read_only(configured: Cli) -> None:
    assert configured("ssh", "worker-1", "--", "cat", "/mnt/data/greeting") == "from the host"
    configured("ssh", "worker-1", "--", "touch", "/mnt/data/more", code=1)


def test_a_port_leads_to_a_machine_and_listens_on_loopback_alone(configured: Cli, wishes: dict[str, Any]) -> None:
    port = wishes["nodes"]["cp-1"]["ports"][0]["host"]
    assert b"Hello World" in urllib3.request("GET", f"http://127.0.0.1:{port}/", timeout=5).data
    gateway = _gateway(configured)
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((gateway, port)) != 0


def test_what_a_machine_is_made_of_does_not_change(configured: Cli, wishes: dict[str, Any]) -> None:
    file = configured.home / "other.yml"
    file.write_text(yaml.safe_dump({**wishes, "node": {"memory": "1Gi"}}))
    configured("up", "--config", str(file), code=2)
    assert configured.last is not None
    assert "memory of cp-1 is 1500Mi, asked for 1Gi" in configured.last.stderr


def test_an_image_of_this_host_is_loaded_once(configured: Cli, tmp_path: Path) -> None:
    name = _image_of_the_host(configured)
    try:
        loaded = configured.json("image load", name)["loaded"]
        assert loaded == [
            {"source": name, "names": [name], "machines": [f"{configured.lab}-cp-1", f"{configured.lab}-worker-1"]}
        ]
        assert configured.json("image load", name)["loaded"][0]["machines"] == []
        assert _run(configured, "loaded", name, "echo here") == "here\n"
        archive = tmp_path / "app.tar"
        podman("save", "--quiet", "--output", str(archive), name)
        only = configured.json("image load", str(archive), "--node", "worker-1")["loaded"][0]["machines"]
        assert only == [f"{configured.lab}-worker-1"]
        configured("image load", "localhost/nowhere:1", code=2)
    finally:
        podman("rmi", name)


def test_the_way_to_registries(configured: Cli, wishes: dict[str, Any], tmp_path: Path) -> None:
    """One image, from a mirror with a private authority, and from one that only the proxy can reach."""
    name, gateway = _image_of_the_host(configured), _gateway(configured)
    ca, certificate = registry.authority(tmp_path, gateway)
    try:
        with (
            registry.serving(name, gateway, tmp_path, tls=certificate) as (secure, asked),
            registry.serving(name, gateway, tmp_path) as (proxy, asked_proxy),
        ):
            wishes["registry_mirrors"] = {
                "secure.example": [f"https://{gateway}:{secure}"],
                "proxied.example": ["http://nowhere.example"],
            }
            wishes["ca_certificates"] = [str(ca)]
            wishes["proxy"] = {"http": f"http://{gateway}:{proxy}", "no_proxy": [gateway]}
            assert _up(configured, wishes) > 0
            assert _up(configured, wishes) == 0
            assert _run(configured, "secure", "secure.example/app:1", "echo here") == "here\n"
            assert any("/v2/app/" in path for path in asked)
            assert _run(configured, "proxied", "proxied.example/app:1", "echo here") == "here\n"
            assert any(path.startswith("http://nowhere.example/v2/app/") for path in asked_proxy)
            for key in ("registry_mirrors", "ca_certificates", "proxy"):
                del wishes[key]
            assert _up(configured, wishes) > 0
            assert _up(configured, wishes) == 0
            written = ("/etc/containerd/certs.d", "/usr/local/share/ca-certificates/labctl")
            assert configured("ssh", "worker-1", "--", "find", *written, "-type", "f") == "", "taken away again"
            assert "proxy.env" not in configured("ssh", "worker-1", "--", "ls", "/etc/labctl")
    finally:
        podman("rmi", name)


def _gateway(cli: Cli) -> str:
    """This host's address in the lab's network."""
    return str(IPv4Address(cli.json("status")["nodes"][0]["address"]) - 9)


def _image_of_the_host(cli: Cli) -> str:
    """The bundle's busybox under a name that no machine knows, with content of its own."""
    name = f"localhost/{cli.lab}-app:1"
    record = json.loads((cli.home / "labs" / cli.lab / "lab.json").read_text())
    [archive] = Path(record["bundle"]).glob("images/*busybox*")
    had = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    loaded = podman("load", "--quiet", "--input", str(archive)).split()[-1]
    podman("tag", loaded, name)
    if loaded not in had:
        podman("untag", loaded, loaded)
    return name
