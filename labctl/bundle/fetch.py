"""Fetches files over HTTP such that what has its name is right: it is named by its checksum.

A download that was killed goes on where it was; one that came out wrong is fetched again, once.
Proxies come from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, further certificate authorities from SSL_CERT_FILE.
"""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from labctl import paths
from labctl.bundle.image import file_sha256
from labctl.bundle.pulse import pulse
from labctl.errors import LabError, TimedOutError
from labctl.events import Emit, Progress, Warned

_CHUNK = 1 << 20
_TRANSIENT = (429, 500, 502, 503, 504)
_TEXT_LIMIT = 8 << 20  # no checksum, manifest or signature is as large
_AGAIN = "run the same command again: it goes on where it was"


@dataclass(frozen=True)
class Patience:
    """How long a server may be silent, and how often a transfer without any progress is tried."""

    connect_s: float = 10.0
    silent_s: float = 30.0
    tries: int = 3
    backoff_s: float = 0.5


@dataclass(frozen=True)
class Remote:
    """A file somewhere: `name` for people; `size` in bytes, 0 if it is not known before."""

    url: str
    sha256: str
    name: str
    size: int = 0


@dataclass(frozen=True)
class Answer:
    """What a server said to a small question."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Gets small answers into memory and files into `paths.downloads()`.

    >>> fetcher.file(Remote("https://dl.k8s.io/.../kubectl", "5a1c...", "kubectl 1.37.2"))
    PosixPath('.../downloads/5a1c...')
    """

    def __init__(self, emit: Emit, patience: Patience | None = None) -> None:
        self._emit = emit
        self._patience = patience or Patience()
        self._pools: dict[str, urllib3.PoolManager] = {}

    def answer(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET, whatever its status. `LabError` if there is none."""
        try:
            response = self._get(url, headers or {})
            body = response.read(_TEXT_LIMIT)
            response.drain_conn()
        except HTTPError as error:
            raise self._failed(url, error) from error
        return Answer(response.status, response.headers, body)

    def text(self, url: str) -> str:
        """The body of a small text. `LabError` if it is not there."""
        answer = self.answer(url)
        if answer.status != HTTPStatus.OK:
            raise refused(url, answer.status)
        return answer.body.decode("utf-8", "replace")

    def file(self, remote: Remote, headers: Mapping[str, str] | None = None) -> Path:
        """The file, whole and with the right checksum; fetched, or there from before."""
        target = paths.downloads() / remote.sha256
        if target.exists():
            if file_sha256(target) == remote.sha256:
                return target
            self._emit(Warned(f"{remote.name} was damaged in {target}: it is fetched again"))
            target.unlink()
        paths.downloads().mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{remote.sha256}.part")
        for _ in range(2):
            self._transfer(remote, part, headers or {})
            found = file_sha256(part)
            if found == remote.sha256:
                part.rename(target)
                return target
            part.unlink()
            words = f"{remote.name}: {remote.url} has the SHA-256 {found}, not {remote.sha256}"
            self._emit(Warned(words))
        raise LabError(
            f"{words}, twice", "the server, or something on the way, hands out another file: ask who runs it"
        )

    def _transfer(self, remote: Remote, part: Path, headers: Mapping[str, str]) -> None:
        """Bring `part` to its full length. Every byte that arrives gives the server new patience."""
        start, begun_at = time.monotonic(), size_of(part)

        def text() -> str:
            have, seconds = size_of(part), max(0.1, time.monotonic() - start)
            of = f" of {remote.size / 1e6:.0f}" if remote.size else ""
            return f"{remote.name}: {have / 1e6:.0f}{of} MB, {(have - begun_at) / 1e6 / seconds:.1f} MB/s"

        if begun_at:
            self._emit(Progress(f"{remote.name}: goes on at {begun_at / 1e6:.1f} MB"))
        fruitless = 0
        with pulse(text, self._emit):
            while True:
                before = size_of(part)
                try:
                    self._append(remote, part, headers)
                except HTTPError as error:
                    fruitless = 1 if size_of(part) > before else fruitless + 1
                    if fruitless >= self._patience.tries:
                        raise self._failed(remote.url, error, size_of(part)) from error
                    time.sleep(self._patience.backoff_s * fruitless)
                else:
                    return

    def _append(self, remote: Remote, part: Path, headers: Mapping[str, str]) -> None:
        have = size_of(part)
        asked = {**headers, "Range": f"bytes={have}-"} if have else headers
        response = self._get(remote.url, asked)
        try:
            if have and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # there is no more: the checksum decides
            goes_on = response.status == HTTPStatus.PARTIAL_CONTENT and have > 0
            if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise HTTPError(f"asked for bytes from {have}, given {response.headers.get('Content-Range')}")
            if not goes_on and response.status != HTTPStatus.OK:
                raise refused(remote.url, response.status)
            with part.open("ab" if goes_on else "wb") as out:
                # As it comes: what waits in a buffer would be lost when the connection breaks.
                while chunk := response.read1(_CHUNK, decode_content=False):
                    out.write(chunk)
        finally:
            response.close()

    def _get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        patience = self._patience
        retries = urllib3.Retry(
            total=8,
            connect=patience.tries - 1,
            read=patience.tries - 1,
            status=patience.tries - 1,
            other=0,  # such as a certificate that is not trusted: that does not get better
            redirect=5,
            status_forcelist=_TRANSIENT,
            backoff_factor=patience.backoff_s,
            raise_on_status=False,
        )
        response = self._pool(url).request(
            "GET",
            url,
            headers={"User-Agent": "labctl", "Accept-Encoding": "identity", **headers},
            timeout=urllib3.Timeout(connect=patience.connect_s, read=patience.silent_s),
            retries=retries,
            preload_content=False,
        )
        history = response.retries.history if response.retries else ()
        if url.startswith("https:") and any((step.redirect_location or "").startswith("http:") for step in history):
            raise LabError(f"{url} leads away from https, to {response.geturl()}: not followed")
        return response

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_for(url)
        if proxy not in self._pools:
            context = ssl.create_default_context()
            self._pools[proxy] = (
                urllib3.ProxyManager(proxy, ssl_context=context, proxy_headers=_proxy_login(proxy))
                if proxy
                else urllib3.PoolManager(ssl_context=context)
            )
        return self._pools[proxy]

    def _failed(self, url: str, error: HTTPError, have: int = 0) -> LabError:
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        so_far = f" after {have / 1e6:.1f} MB" if have else ""
        if isinstance(reason, HTTPTimeoutError) and not isinstance(reason, NewConnectionError):
            seconds = self._patience.silent_s
            return TimedOutError(
                f"{url}: nothing came for {seconds:.0f} s{so_far}, {self._patience.tries} times", _AGAIN
            )
        hint = _AGAIN
        if "CERTIFICATE_VERIFY_FAILED" in str(reason):
            hint = "for a certificate authority of your own: SSL_CERT_FILE=ca.pem, or update-ca-certificates"
        # urllib3 puts the pool or connection in front of the reason.
        return LabError(f"{url}: {str(reason).rpartition('>: ')[2] or reason}{so_far}", hint)


def refused(url: str, status: int) -> LabError:
    """The error for an answer that is no file."""
    hint = "docs/bundle.md lists what must be there" if status == HTTPStatus.NOT_FOUND else _AGAIN
    return LabError(f"{url}: HTTP {status} {responses.get(status, '')}".strip(), hint)


def size_of(path: Path) -> int:
    """Bytes of the file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _proxy_for(url: str) -> str:
    """The proxy that the environment names for `url`, or ''."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return ""
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


def _proxy_login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return urllib3.make_headers(proxy_basic_auth=login)
