"""Requests to the API server and watch streams. The only import of the kubernetes library (0.4 s, so it is late).

The library reads the kubeconfig and holds TLS and credentials; objects travel as JSON, unconverted. Retries are off:
a lost connection is an observation, and whoever wants to try again says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import urllib3
from urllib3.exceptions import HTTPError

from labctl.errors import LabError, StateError, TimedOutError, command_for
from labctl.paths import LabPaths

Query = Mapping[str, str | int | bool]


class ApiError(LabError):
    """The API server refused a request; `status` is the HTTP code."""

    def __init__(self, message: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class ApiUnavailableError(TimedOutError):
    """The API server gave no answer."""


@dataclass(frozen=True)
class Line:
    """One line of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: dict[str, Any]


class Stream:
    """An open watch. `close` may be called from another thread and ends it at once."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def lines(self) -> Iterator[Line]:
        """Events until the server ends the watch. Raises `ApiError` (410: too old), `OSError`, `HTTPError`."""
        buffer = b""
        for chunk in self._response.stream(None):
            buffer += chunk
            *whole, buffer = buffer.split(b"\n")
            for text in whole:
                raw = json.loads(text)
                if raw["type"] == "ERROR":
                    status = raw["object"]
                    raise ApiError(f"the watch ended: {status.get('message', '')}", int(status.get("code", 0)))
                yield Line(raw["type"], raw["object"])

    def close(self) -> None:
        """Shut the socket: a thread that reads from it wakes up."""
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):  # closed, or handed back to the pool already
            self._response.close()


class Client:
    """HTTP to one lab's API server, with its kubeconfig; `patience` multiplies what an answer may take."""

    def __init__(self, lab: LabPaths, patience: float = 1.0) -> None:
        import kubernetes.client  # noqa: PLC0415 - slow
        import kubernetes.config  # noqa: PLC0415 - slow

        logging.getLogger("urllib3").setLevel(logging.ERROR)
        settings = kubernetes.client.Configuration()
        try:
            load: Any = kubernetes.config.load_kube_config  # untyped in the library
            load(str(lab.kubeconfig), client_configuration=settings)
        except kubernetes.config.ConfigException as error:
            hint = f"{command_for(lab.name, 'up')} writes it"
            raise StateError(f"{lab.kubeconfig} is no usable kubeconfig: {error}", hint) from error
        off: Any = False
        settings.retries = off  # urllib3: no retry and no redirect; the stub says int
        self.lab = lab.name
        self._patience = patience
        self.server = str(settings.host)
        self._api = kubernetes.client.ApiClient(settings)
        self._silence = (HTTPError, OSError, kubernetes.client.ApiException)  # the library's own: TLS alone

    def get(self, path: str, query: Query | None = None, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """GET as JSON."""
        return self.request("GET", path, query, timeout_s=timeout_s)

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout_s: float = 10.0,
    ) -> dict[str, Any]:
        """One request; raises `ApiError` for a refusal and `ApiUnavailableError` for silence."""
        response = self._send(method, path, query, body, content_type, timeout_s * self._patience)
        try:
            data = response.read()
        except (HTTPError, OSError) as error:
            raise self._unavailable(error) from error
        finally:
            response.release_conn()
        if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP
            raise _refused(method, path, response.status, data)
        return cast("dict[str, Any]", json.loads(data))

    def watch(self, path: str, query: Query, *, connect_s: float = 5.0, silence_s: float = 90.0) -> Stream:
        """Open a watch. With bookmarks an idle watch says something every minute: `silence_s` ends a dead one."""
        full = {**query, "watch": True, "allowWatchBookmarks": True}
        limits = (connect_s * self._patience, silence_s)
        response = self._send("GET", path, full, None, "application/json", limits)
        if response.status != 200:  # noqa: PLR2004 - HTTP
            data = response.read()
            raise _refused("WATCH", path, response.status, data)
        return Stream(response)

    def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Mapping[str, Any] | None,
        content_type: str,
        timeout: float | tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        pairs = [
            (key, str(value).lower() if isinstance(value, bool) else value) for key, value in (query or {}).items()
        ]
        headers = {"Accept": "application/json", "Content-Type": content_type}
        call = self._api.param_serialize(
            method, path, query_params=pairs, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self._api.call_api(*call, _request_timeout=timeout)
        except self._silence as error:
            raise self._unavailable(error) from error
        return cast("urllib3.BaseHTTPResponse", answer.response)

    def _unavailable(self, error: Exception) -> ApiUnavailableError:
        return ApiUnavailableError(
            f"the Kubernetes API at {self.server} does not answer: {error}",
            f"{command_for(self.lab, 'status')} shows which machines are on",
        )


def _refused(method: str, path: str, status: int, data: bytes) -> ApiError:
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = data.decode(errors="replace")[:500]
    return ApiError(f"{method} {path}: the API server answered {status}: {message}", status)
