"""The hello-world page: where it is, and what it says."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from http import HTTPStatus

import urllib3

from labctl.errors import TimedOutError, command_for

POD = "hello-world"
DEPLOYMENT = "hello"
NODE_PORT = 30080
_PATIENCE_S = 30.0


def fetch(lab: str, address: str, timeout_s: float = _PATIENCE_S) -> str:
    """The page of `lab` as HTML, through the Service's node port at `address`.

    A Ready pod is in the Service at once, but kube-proxy writes its rules a moment later, hence the patience.
    Raises `TimedOutError`.
    """
    url = f"http://{address}:{NODE_PORT}/"
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer = urllib3.request("GET", url, timeout=2.0, retries=False)
        except urllib3.exceptions.HTTPError as error:
            seen = str(error)
        else:
            seen = f"HTTP {answer.status}"
            if answer.status == HTTPStatus.OK:
                return answer.data.decode("utf-8", "replace")
        if time.monotonic() > deadline:
            raise TimedOutError(f"{url} gave no page within {timeout_s:.0f} s (last: {seen})", command_for(lab, "logs"))
        time.sleep(0.1)


def text_of(page: str) -> str:
    """What a person reads on `page`, one line for each piece of text."""
    reader = _Reader()
    reader.feed(page)
    return "\n".join(reader.lines)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in ("style", "script", "title")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script", "title")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._hidden:
            self.lines.append(" ".join(data.split()))
