"""The probes against servers on loopback that answer, refuse, hang and reset."""

from __future__ import annotations

import errno
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from labctl.drill import probe
from labctl.drill.declare import StreamSpec
from labctl.drill.history import Entry, History
from labctl.drill.model import Stream
from labctl.drill.probe import Beacon, HttpProbe, SourcePorts, classify

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pod: hello-1\r\nX-Node: w1\r\n\r\nhi"
ERROR = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback; `answer` has each connection in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in held:
            connection.close()


def good(connection: socket.socket) -> None:
    try:
        while connection.recv(4096):
            connection.sendall(ANSWER)
    except OSError:
        pass


def busy(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(ERROR)


def hang(_: socket.socket) -> None:
    pass


def reset(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def probe_for(
    port: int, folder: Path, seconds: float, *, rate: float = 50, timeout_s: float = 0.2, keep_alive: bool = False
) -> list[Entry]:
    """The requests that a probe recorded within `seconds`."""
    spec = StreamSpec(name="survivor", via="survivor", rate=rate, timeout_s=timeout_s, keep_alive=keep_alive)
    seen: list[Entry] = []
    history = History(folder / "history", time.monotonic, seen.append)
    probe = HttpProbe(Stream(spec=spec, host="127.0.0.1", port=port), SourcePorts())
    probe.start(history)
    time.sleep(seconds)
    probe.stop()
    history.close()
    return sorted((e for e in seen if e["kind"] == "request"), key=lambda e: e["seq"])


def test_answers_are_recorded_with_pod_and_node(tmp_path: Path) -> None:
    with server(good) as port:
        requests = probe_for(port, tmp_path, 0.3)
    assert [r["seq"] for r in requests] == list(range(len(requests)))
    assert 10 <= len(requests) <= 17
    # What a busy machine could not send in time has no answer.
    sent = [r for r in requests if r["class"] != "discarded"]
    assert {(r["class"], r["pod"], r["node"]) for r in sent} == {("ok", "hello-1", "w1")}
    gaps = [b["intended"] - a["intended"] for a, b in itertools.pairwise(requests)]
    assert gaps == pytest.approx([0.02] * len(gaps), abs=0.001), "due times do not depend on answers"


@pytest.mark.parametrize(("answer", "kind"), [(busy, "http-error"), (hang, "timeout"), (reset, "reset")])
def test_failures_have_their_class(tmp_path: Path, answer: Callable[[socket.socket], None], kind: str) -> None:
    with server(answer) as port:
        requests = probe_for(port, tmp_path, 0.15)
    # What a busy machine could not send in time never met the server.
    assert {r["class"] for r in requests} - {"discarded"} == {kind}


def test_a_closed_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        requests = probe_for(unused.getsockname()[1], tmp_path, 0.1)
    assert {r["class"] for r in requests} == {"refused"}


def test_open_loop_a_request_that_hangs_delays_no_other(tmp_path: Path) -> None:
    with server(hang) as port:
        requests = probe_for(port, tmp_path, 0.3, timeout_s=0.2)
    assert len(requests) >= 10, "closed-loop would have sent two"
    assert max(r["sent"] - r["intended"] for r in requests) < 0.1
    assert all(r["done"] - r["intended"] >= 0.19 for r in requests)


def test_new_connections_are_new_and_kept_ones_are_kept(tmp_path: Path) -> None:
    count = [0]

    def counting(connection: socket.socket) -> None:
        count[0] += 1
        good(connection)

    with server(counting) as port:
        requests = probe_for(port, tmp_path, 0.2)
        assert count[0] == len(requests)
        count[0] = 0
        (tmp_path / "kept").mkdir()
        requests = probe_for(port, tmp_path / "kept", 0.2, keep_alive=True)
        assert len(requests) > 3
        assert count[0] < len(requests)  # requests that overlap need more than one


def test_every_new_connection_has_a_source_port_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    first = taken.getsockname()[1]
    monkeypatch.setattr("labctl.drill.probe._SOURCE_PORTS", range(first, first + 100))
    monkeypatch.setattr("random.randrange", lambda _: 0)
    seen: list[int] = []

    def noting(connection: socket.socket) -> None:
        seen.append(connection.getpeername()[1])
        good(connection)

    with server(noting) as port, taken:
        requests = probe_for(port, tmp_path, 0.2)
    assert {r["class"] for r in requests} == {"ok"}, "a port that somebody uses is passed over"
    assert len(set(seen)) == len(seen) == len(requests)
    assert set(seen) <= set(range(first + 1, first + 100))


def test_source_ports_begin_anywhere_and_go_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anywhere: the drill before this one used others, which nodes still remember."""
    monkeypatch.setattr("random.randrange", lambda size: size - 2)
    ports = SourcePorts()
    assert [ports.next() for _ in range(3)] == [
        probe._SOURCE_PORTS[-2],
        probe._SOURCE_PORTS[-1],
        probe._SOURCE_PORTS[0],
    ]


def test_source_ports_are_nobody_elses_and_last_longer_than_a_nodes_memory() -> None:
    ours = set(probe._SOURCE_PORTS)
    node_ports, of_the_kernel, privileged = range(30_000, 32_768), range(32_768, 61_000), range(1024)
    for others in (node_ports, of_the_kernel, privileged):
        assert not ours & set(others)
    remembered_s, requests_per_s = 120, 60
    assert len(ours) > 2 * remembered_s * requests_per_s


def test_all_streams_of_a_drill_share_their_source_ports() -> None:
    spec = StreamSpec(name="survivor", via="survivor", rate=1)
    streams = [Stream(spec=spec, host="127.0.0.1", port=port) for port in (1, 2)]
    one, two, _ = probe.observers(Mock(streams=streams, victims=[Mock(address="127.0.0.1")]))
    assert isinstance(one, HttpProbe)
    assert isinstance(two, HttpProbe)
    assert one._ports is two._ports


def test_without_a_free_source_port_a_request_is_discarded_and_nobody_tries_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, server(good) as port:
        first = taken.getsockname()[1]
        monkeypatch.setattr("labctl.drill.probe._SOURCE_PORTS", range(first, first + 1))
        requests = probe_for(port, tmp_path, 0.2)
    assert requests
    assert {r["class"] for r in requests} == {"discarded"}


def test_what_cannot_be_sent_is_recorded_as_discarded(tmp_path: Path) -> None:
    spec = StreamSpec(name="survivor", via="survivor", rate=100, timeout_s=1)
    seen: list[Entry] = []
    is_discarded = threading.Event()

    def listen(entry: Entry) -> None:
        seen.append(entry)
        if entry.get("class") == "discarded":
            is_discarded.set()

    history = History(tmp_path / "history", time.monotonic, listen)
    with server(hang) as port:
        probe = HttpProbe(Stream(spec=spec, host="127.0.0.1", port=port), SourcePorts())
        probe._in_flight = threading.Semaphore(3)
        probe.start(history)
        assert is_discarded.wait(10)
        first = next(entry for entry in seen if entry.get("class") == "discarded")
    probe.stop()
    assert first["seq"] == 3, "three are in flight, the fourth finds no place"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EHOSTUNREACH, "unreachable"), (errno.ECONNREFUSED, "refused"), (errno.ETIMEDOUT, "timeout")],
)
def test_a_connection_that_fails_is_told_apart_by_errno(number: int, kind: str) -> None:
    error = NewConnectionError(HTTPConnection("h"), "no")
    error.__cause__ = OSError(number, "x")
    assert classify(error) == kind


def test_a_timeout_is_not_a_reset() -> None:
    assert classify(ReadTimeoutError(HTTPConnectionPool("h"), "/", "slow")) == "timeout"
    assert classify(ProtocolError("cut")) == "reset"


def test_the_beacon_falls_silent_with_the_machine(tmp_path: Path) -> None:
    seen: list[Entry] = []
    history = History(tmp_path / "history", time.monotonic, seen.append)
    with server(hang) as port:
        beacon = Beacon("w1", "127.0.0.1", port=port, rate=50)
        beacon.start(history)
        time.sleep(0.1)
    time.sleep(0.1)
    beacon.stop()
    signs = [e["ok"] for e in seen if e["kind"] == "beacon"]
    assert signs[:3] == [True] * 3
    assert signs[-2:] == [False] * 2
