"""Hello-world: its Pod, Deployment and Service, where its page is, and what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3
import yaml

from labctl import paths
from labctl.config import LabConfig
from labctl.errors import TimedOutError, command_for

DEPLOYMENT = "hello"
NODE_PORT = 30080
_PATIENCE_S = 30.0
_FILES = ("helloworld-pod.yml", "hello-deployment.yml")


def documents(config: LabConfig) -> tuple[dict[str, Any], ...]:
    """The hello-world Pod, Deployment and Service with the image that the lab uses."""
    folder = paths.roles() / "hello_world" / "files"
    found: list[dict[str, Any]] = []
    for file in _FILES:
        text = Path(folder / file).read_text(encoding="utf-8")
        text = text.replace(LabConfig().hello_world.image, config.hello_world.image)
        found += [document for document in yaml.safe_load_all(text) if document]
    return tuple(found)


def as_kubectl(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the note that `kubectl apply` leaves, so that the next one finds it unchanged.

    kubectl compares the note as text with the one that it would write itself: keys sorted, no blanks, `<`, `>` and `&`
    escaped as Go's encoder does, a newline at the end.
    https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/
    """
    meta = dict(document["metadata"])
    applied = {**document, "metadata": {"annotations": {}, "namespace": "default", **meta}}
    text = json.dumps(applied, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    note = {"kubectl.kubernetes.io/last-applied-configuration": text}
    return {**document, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **note}}}


def fetch(lab: str, address: str, timeout_s: float = _PATIENCE_S) -> str:
    """The page of `lab` as HTML, through the Service's node port at `address`.

    A Ready pod is in the Service at once, but kube-proxy writes its rules a moment later, hence the patience.
    Raises `TimedOutError`.
    """
    url = f"{url_of(address)}/"
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


def url_of(address: str) -> str:
    """Where the page is on the machine with `address`."""
    return f"http://{f'[{address}]' if ':' in address else address}:{NODE_PORT}"


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
