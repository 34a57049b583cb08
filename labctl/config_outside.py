"""What labctl.yml says of the way out: registry mirrors, proxies, certificate authorities."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from labctl.config_machine import Strict

_REGISTRY = re.compile(r"\*|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?")


def _registry(text: str) -> str:
    if not _REGISTRY.fullmatch(text):
        raise ValueError(f"{text!r} is no registry, such as docker.io or registry.example:5000, or * for all others")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or re.search(r"[\s\"'\\]", text):
        raise ValueError("wants http://HOST:PORT or https://HOST:PORT")
    return text.rstrip("/")


def _mirror(text: str) -> str:
    if "@" in text:
        raise ValueError("a mirror's URL holds no password: pull with an imagePullSecret")
    return _url(text)


def _word(text: str) -> str:
    if not re.fullmatch(r"[-A-Za-z0-9_.:/*\[\]]+", text):
        raise ValueError("wants a host, .domain, address or network each")
    return text


Url = Annotated[str, AfterValidator(_url)]
Mirrors = dict[Annotated[str, AfterValidator(_registry)], tuple[Annotated[str, AfterValidator(_mirror)], ...]]


class Proxy(Strict):
    """Through which containerd pulls images. The lab's own networks are never asked for through it."""

    http: Url | None = None
    https: Url | None = None
    no_proxy: tuple[Annotated[str, AfterValidator(_word)], ...] = Field(
        default=(), description="beside the machines, pods and Services of the lab, and localhost"
    )
