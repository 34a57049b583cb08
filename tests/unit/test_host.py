from pathlib import Path

import pytest

from labctl import process
from labctl.process import Completed
from labctl.providers import host


@pytest.mark.parametrize(
    ("etc", "systemd", "expected"),
    [
        ("# mine\nsearch lan\nnameserver 192.168.1.1\n", "", "search lan\nnameserver 192.168.1.1\n"),
        ("nameserver 127.0.0.53\n", "nameserver 9.9.9.9\n", "nameserver 9.9.9.9\n"),
        ("nameserver ::1\nnameserver 10.0.0.2\n", "", "nameserver 10.0.0.2\n"),
        ("nameserver 127.0.0.1\n", "", "nameserver 8.8.8.8\n"),
    ],
)
def test_machines_get_nameservers_that_they_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etc: str, systemd: str, expected: str
) -> None:
    files = (tmp_path / "etc", tmp_path / "systemd", tmp_path / "missing")
    files[0].write_text(etc)
    files[1].write_text(systemd)
    monkeypatch.setattr(host, "RESOLVERS", files)
    assert host.resolv_conf() == expected


DROP = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"
MENDED = "-P FORWARD DROP\n-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n"


@pytest.mark.parametrize(
    ("filtered", "rules", "drops"),
    [
        ("1", DROP, True),
        ("1", MENDED, False),
        ("1", "-P FORWARD ACCEPT\n", False),
        ("0", DROP, False),
        (None, DROP, False),
    ],
)
def test_a_firewall_that_drops_between_pods_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, filtered: str | None, rules: str, drops: bool
) -> None:
    switch = tmp_path / "bridge-nf-call-iptables"
    if filtered is not None:
        switch.write_text(filtered + "\n")
    monkeypatch.setattr(host, "BRIDGES_ARE_FILTERED", switch)
    monkeypatch.setattr(process, "has", lambda _program: True)
    monkeypatch.setattr(process, "run", lambda *_args, **_words: Completed((), 0, rules, ""))
    assert host.drops_between_pods() is drops
