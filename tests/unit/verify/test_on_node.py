from __future__ import annotations

import base64
import json
import socket
import threading
from pathlib import Path

import pytest

from tests.cluster import on_node


def answer_with(packet: bytes) -> int:
    """A name server that gives one answer; its port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        asked, peer = server.recvfrom(512)
        server.sendto(packet.replace(b"QUESTION", asked[12:]), peer)
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    port: int = server.getsockname()[1]
    return port


def asked(port: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: connect(self, (to[0], port)))
    return on_node.ask({"dns": "127.0.0.1", "name": "kubernetes.default"})


HEAD = b"\x13\x37\x81\x80\x00\x01"
ADDRESS = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x01"
ALIAS = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x1e\x00\x04\x01a\xc0\x0c"
SPELLED = b"\x03web\x00\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x60\x00\x02"


def test_a_name_has_its_addresses_past_aliases_and_names_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    packet = HEAD + b"\x00\x03\x00\x00\x00\x00QUESTION" + ALIAS + SPELLED + ADDRESS
    assert asked(answer_with(packet), monkeypatch) == {"status": 200, "body": "10.96.0.1 10.96.0.2"}


def test_a_name_that_is_not_there_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    packet = b"\x13\x37\x81\x83\x00\x01" + bytes(6) + b"QUESTION"
    assert asked(answer_with(packet), monkeypatch) == {"status": 3, "body": ""}


def test_a_cut_off_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    said = asked(answer_with(HEAD + b"\x00\x01\x00\x00\x00\x00QUESTION\xc0"), monkeypatch)
    assert said["status"] == 0
    assert "cut off" in str(said["body"])


def test_an_ipv6_address_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    record = b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x1e\x00\x10" + bytes.fromhex("fd000010009600000000000000000001")
    said = asked(answer_with(HEAD + b"\x00\x01\x00\x00\x00\x00QUESTION" + record), monkeypatch)
    assert said == {"status": 200, "body": "fd00:10:96::1"}


def test_what_is_closed_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = on_node.ask({"url": f"http://127.0.0.1:{port}/pods"})
    assert said["status"] == 0
    assert "ConnectionRefused" in said["body"]


def test_a_kubeconfig_has_its_authority_inside_or_in_a_file(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_bytes(b"certificate\n")
    inside = tmp_path / "inside.conf"
    inside.write_text(
        f"server: https://a:6443\ncertificate-authority-data: {base64.b64encode(authority.read_bytes()).decode()}"
    )
    outside = tmp_path / "outside.conf"
    outside.write_text(f"certificate-authority: {authority}\nserver: https://b:6443\n")
    seen = [on_node._kubeconfig(path) for path in (inside, outside)]
    assert [one["server"] for one in seen] == ["https://a:6443", "https://b:6443"]
    assert seen[0]["ca"] == seen[1]["ca"] == on_node.fingerprint(b"certificate")


def test_services_are_read_from_maps_with_and_without_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys as nft 1.1 prints them; kube-proxy comments those of Services without endpoints."""
    drops = {"drop": None}
    bare, commented = {"concat": ["10.96.0.10", "udp", 53]}, {"concat": ["10.96.9.9", "tcp", 80]}
    elements = [[bare, drops], [{"elem": {"val": commented, "comment": "default/hello:http"}}, drops]]
    listed = json.dumps({"nftables": [{"metainfo": {}}, {"map": {"elem": elements}}]})
    monkeypatch.setattr(on_node, "_run", lambda *_: listed)
    assert on_node._services("ip", "no-endpoint-services") == {"10.96.0.10 udp 53", "10.96.9.9 tcp 80"}


@pytest.mark.parametrize(
    ("passes_up_to", "said"),
    [
        (1500, {"status": 200, "body": "1500"}),
        (1499, {"status": 413, "body": "1500"}),
        (0, {"status": 0, "body": "TimeoutError: no echo, of small packets neither"}),
    ],
)
def test_packets_of_full_size_are_told_from_small_ones(
    passes_up_to: int, said: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conflist = tmp_path / "conflist"
    conflist.write_text('{"plugins": [{"type": "portmap"}, {"type": "ptp", "mtu": 1450}]}')
    monkeypatch.setattr(on_node, "CONFLIST", conflist)
    monkeypatch.setattr(on_node, "_comes_back", lambda _address, size: size <= passes_up_to)
    assert on_node.ask({"echo": "192.0.2.1", "around": 50}) == said


@pytest.mark.parametrize("text", ["{}", '{"plugins": [{"type": "ptp"}]}', "no JSON"])
def test_without_a_size_nothing_is_sent(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "conflist").write_text(text)
    monkeypatch.setattr(on_node, "CONFLIST", tmp_path / "conflist")
    assert on_node.ask({"echo": "192.0.2.1", "around": 50})["status"] == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_echo_comes_back(address: str) -> None:
    try:
        assert on_node._comes_back(address, 84)
    except PermissionError:
        pytest.skip("raw sockets want root")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert on_node._comes_back(address, 65535)
    assert not on_node._comes_back(address, 65537), "larger than any packet"
