import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import psutil
import pytest

from labctl.config import LabConfig
from labctl.config_machine import MachineSettings
from labctl.errors import UsageError
from labctl.providers import extras, size
from labctl.topology import Planned


def test_a_machine_of_no_size_gets_no_limits(tmp_path: Path) -> None:
    assert size.run_arguments(MachineSettings(), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_machine_sees_its_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "online_cpus", lambda: [0, 2, 3, 5])
    words = size.run_arguments(MachineSettings(cpus=1.5, memory="2Gi"), tmp_path)
    text = " ".join(words)
    assert "--cpus 1.5" in text
    assert "--memory 2048m --memory-swap 2048m" in text, "no swap beside it"
    assert (tmp_path / "cpus_online").read_text() == "0,2\n", "whole CPUs, and ones that the host has"
    assert f"{tmp_path}/meminfo:/proc/meminfo:ro" in text
    assert (tmp_path / "meminfo").read_text().splitlines()[0].split() == ["MemTotal:", "2097152", "kB"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (MachineSettings(cpus=4096), "cp-1 cannot have 4096 CPUs"),
        (MachineSettings(memory=f"{psutil.virtual_memory().total // 1024**3 + 1}Gi"), "cp-1 cannot have"),
    ],
)
def test_a_machine_larger_than_the_host_is_refused(settings: MachineSettings, said: str) -> None:
    size.refuse_too_large(LabConfig())
    with pytest.raises(UsageError, match=said):
        size.refuse_too_large(LabConfig(node=settings))


def test_ports_are_of_loopback_unless_asked() -> None:
    settings = MachineSettings.model_validate(
        {
            "ports": [
                {"host": 8080, "machine": 80},
                {"host": 53, "machine": 53, "listen": "0.0.0.0", "protocol": "udp"},  # noqa: S104
            ],
            "mounts": [{"host": "/a", "machine": "/b"}, {"host": "/c", "machine": "/d", "read_only": True}],
        }
    )
    words = " ".join(extras.run_arguments(settings))
    assert words == "--volume /a:/b --volume /c:/d:ro --publish 127.0.0.1:8080:80/tcp --publish 0.0.0.0:53:53/udp"


def test_a_port_that_is_taken_is_named_with_its_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        settings = MachineSettings.model_validate({"ports": [{"host": number, "machine": 80}]})
        planned = Planned("lab-cp-1", "control-plane", IPv4Address("10.1.1.1"), IPv4Network("10.2.0.0/24"), settings)
        with pytest.raises(UsageError, match=f"lab-cp-1 cannot have 127.0.0.1:{number}/tcp"):
            extras.refuse_taken_ports([planned])
    extras.refuse_taken_ports([planned])
