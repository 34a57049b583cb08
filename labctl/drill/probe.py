"""Observers outside the cluster: open-loop HTTP probes and the victim's beacon.

Open loop: request n is due at start + n / rate, whatever became of the others; latency counts from that instant. Each
request has a thread of its own out of a pool that is large enough for all that may hang; if it is not, or if no source
port is free, the request is recorded as ``discarded``, which counts as a failure.
"""

from __future__ import annotations

import errno
import itertools
import math
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from labctl.drill.history import History
from labctl.drill.lab import Observer
from labctl.drill.model import Plan, Stream

KUBELET_PORT = 10250
_MAX_S = 3600.0
_HTTP_ERROR = 400
_SOURCE_PORTS = range(10_240, 30_000)
"""Below the kernel's own range. At 60 requests/s they last for more than five minutes."""
_PORTS_TRIED = 50


class SourcePorts:
    """A port of its own for every request.

    The kernel's choice comes back within a minute. A node still remembers the unanswered request that came from that
    port before (nf_conntrack_tcp_timeout_syn_sent, 120 s) and sends the new one after it, to the dead pod: one client
    that asks so often would measure itself, not the Service.
    """

    def __init__(self) -> None:
        start = random.randrange(len(_SOURCE_PORTS))  # noqa: S311 (no secret): the previous drill's ports are elsewhere
        self._numbers = itertools.count(start)

    def next(self) -> int:
        """The next one; it may be in use by somebody else."""
        return _SOURCE_PORTS[next(self._numbers) % len(_SOURCE_PORTS)]


class HttpProbe:
    """Sends the requests of one stream until `stop`, at most for an hour."""

    def __init__(self, stream: Stream, ports: SourcePorts, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._ports = ports
        self._clock = clock
        self._stop = threading.Event()
        spec = stream.spec
        self._workers = math.ceil(spec.rate * spec.timeout_s) + 4
        self._in_flight = threading.Semaphore(self._workers)
        self._kept = self._pool(self._workers) if spec.keep_alive else None
        self._thread: threading.Thread | None = None

    def start(self, history: History) -> None:
        """Begin to send."""
        name = f"probe-{self._stream.spec.name}"
        self._thread = threading.Thread(target=self._send_all, args=(history,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers that are due (at most the stream's timeout)."""
        self._stop.set()
        if self._thread:
            self._thread.join(self._stream.spec.timeout_s + 2)

    def _send_all(self, history: History) -> None:
        spec = self._stream.spec
        start = self._clock()
        with ThreadPoolExecutor(self._workers, thread_name_prefix=f"probe-{spec.name}") as pool:
            for seq in range(int(spec.rate * _MAX_S)):
                due = start + seq / spec.rate
                if self._stop.wait(max(0.0, due - self._clock())):
                    return
                if self._in_flight.acquire(blocking=False):
                    pool.submit(self._send, history, seq, due)
                else:
                    now = self._clock()
                    self._record(history, seq, (due, now, now), "discarded")

    def _send(self, history: History, seq: int, due: float) -> None:
        sent = self._clock()
        pod = node = ""
        try:
            kind, pod, node = self._request()
        except (HTTPError, OSError) as error:
            kind = classify(error)
        finally:
            self._in_flight.release()
        self._record(history, seq, (due, sent, self._clock()), kind, pod, node)

    def _record(
        self, history: History, seq: int, times: tuple[float, float, float], kind: str, pod: str = "", node: str = ""
    ) -> None:
        due, sent, done = map(history.since_start, times)
        fields: dict[str, Any] = {"class": kind, "pod": pod, "node": node}
        stream = self._stream.spec.name
        history.record("request", stream=stream, seq=seq, intended=due, sent=sent, done=done, **fields)

    def _request(self) -> tuple[str, str, str]:
        """One request: class, pod and node that answered."""
        answer = self._kept.request("GET", self._stream.path) if self._kept else self._request_once()
        kind = "ok" if answer.status < _HTTP_ERROR else "http-error"
        return kind, answer.headers.get("X-Pod", ""), answer.headers.get("X-Node", "")

    def _request_once(self) -> urllib3.BaseHTTPResponse:
        """One request over a connection of its own; a source port that somebody uses is passed over, a few times."""
        for _ in range(_PORTS_TRIED):
            with self._pool(1, ("", self._ports.next())) as pool:
                try:
                    return pool.request("GET", self._stream.path)
                except NewConnectionError as error:
                    if _errno(error) != errno.EADDRINUSE:
                        raise
        raise OSError(errno.EADDRINUSE, "no source port is free")

    def _pool(self, size: int, source: tuple[str, int] | None = None) -> urllib3.HTTPConnectionPool:
        timeout = urllib3.Timeout(total=self._stream.spec.timeout_s)
        return urllib3.HTTPConnectionPool(
            self._stream.host,
            self._stream.port,
            timeout=timeout,
            maxsize=size,
            retries=False,
            source_address=source,
        )


def classify(error: Exception) -> str:
    """The class of a request that got no answer. A timeout is *unknown*: the request may have been served."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "discarded"  # there was no port to send it from: nothing is known of the Service
    if isinstance(error, NewConnectionError):
        number = _errno(error)
        if number in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
            return "unreachable"
        return "timeout" if number == errno.ETIMEDOUT else "refused"
    if isinstance(error, (ConnectTimeoutError, HTTPTimeoutError, TimeoutError)):
        return "timeout"
    return "reset"


def _errno(error: NewConnectionError) -> int | None:
    return getattr(error.__cause__ or error.__context__, "errno", None)


class Beacon:
    """The victim's own sign of life: it accepts a connection on its kubelet's port, `rate` times a second.

    Not SSH: an sshd of today penalises an address that connects and says nothing, and locks labctl itself out.
    """

    def __init__(self, machine: str, address: str, *, port: int = KUBELET_PORT, rate: float = 5.0) -> None:
        self._machine = machine
        self._target = (address, port)
        self._period_s = 1 / rate
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, history: History) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._ask_all, args=(history,), name="beacon", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        if self._thread:
            self._thread.join(2)

    def _ask_all(self, history: History) -> None:
        end = time.monotonic() + _MAX_S
        begun = time.monotonic()
        while not self._stop.is_set() and begun < end:
            begun = time.monotonic()
            history.record("beacon", at=begun, machine=self._machine, ok=self._answers())
            self._stop.wait(max(0.0, begun + self._period_s - time.monotonic()))

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._target, timeout=0.5).close()
        except OSError:
            return False
        return True


def observers(plan: Plan) -> list[Observer]:
    """The probes of `plan`, and a beacon of each victim."""
    ports = SourcePorts()
    probes: list[Observer] = [HttpProbe(stream, ports) for stream in plan.streams]
    return [*probes, *(Beacon(victim.name, victim.address) for victim in plan.victims)]
