"""Reads images from an OCI registry: a manifest by its tag, and all that hangs on it by its checksum."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from labctl.bundle.fetch import Answer, Fetcher, Remote, refused
from labctl.errors import LabError

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution.manifest"
_INDEXES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.list.v2+json")
_MANIFESTS = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.v2+json")
_ACCEPT = ", ".join((*_INDEXES, *_MANIFESTS))
_ASK = "ask who runs the registry"


class _Foreign(BaseModel):
    """What a registry says: checked where it is used, the rest is left alone."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Platform(_Foreign):
    """The machines that an image is for."""

    os: str = ""
    architecture: str = ""


class Descriptor(_Foreign):
    """A file of an image. The checksum becomes a file's name, so nothing else may pass."""

    media_type: str = ""
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    platform: Platform = Platform()
    annotations: dict[str, str] = {}

    @property
    def sha256(self) -> str:
        """The checksum alone."""
        return self.digest.removeprefix("sha256:")


class ImageManifest(_Foreign):
    """The manifest of one image."""

    config: Descriptor
    layers: list[Descriptor]


class _Index(_Foreign):
    manifests: list[Descriptor]


@dataclass(frozen=True)
class Pulled:
    """The manifest of an image for one architecture.

    `digest` is what its tag names (of an index where there is one); `text` is the manifest itself, byte for byte.
    """

    repository: str
    digest: str
    text: bytes
    media_type: str

    @cached_property
    def manifest(self) -> ImageManifest:
        """The parsed manifest."""
        try:
            return ImageManifest.model_validate_json(self.text)
        except ValidationError as error:
            raise LabError(
                f"the registry's manifest of {self.repository} is none: {error.errors()[0]['msg']}"
            ) from error

    @property
    def parts(self) -> list[Descriptor]:
        """Configuration and layers."""
        return [self.manifest.config, *self.manifest.layers]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


class Registry:
    """One registry at `base`, such as ``https://registry.k8s.io``; reads as an anonymous user."""

    def __init__(self, base: str, fetcher: Fetcher) -> None:
        scheme, _, rest = base.rstrip("/").partition("://")
        host, _, prefix = rest.partition("/")
        self._api = f"{scheme}://{host}/v2/{prefix + '/' if prefix else ''}"
        self._fetcher = fetcher
        self._tokens: dict[str, str] = {}

    def pull(self, repository: str, tag: str, arch: str) -> Pulled:
        """The manifest of `repository`:`tag` for `arch`. Of the image's files nothing is fetched yet."""
        found = self.manifest(repository, tag)
        if found is None:
            raise refused(self._url(repository, tag), HTTPStatus.NOT_FOUND)
        text, media_type = found
        digest = _digest(text)
        if media_type in _INDEXES:
            text, media_type = self._of_arch(repository, text, arch)
        if media_type not in _MANIFESTS:
            raise LabError(f"{self._url(repository, tag)} is no image but {media_type or 'something unnamed'}")
        return Pulled(repository, digest, text, media_type)

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str] | None:
        """A manifest or index by tag or digest: its bytes and media type. None if there is none."""
        url = self._url(repository, reference)
        answer = self._ask(url, repository)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise refused(url, answer.status)
        if ":" in reference and _digest(answer.body) != reference:
            raise LabError(f"{url} has the checksum {_digest(answer.body)}", _ASK)
        return answer.body, _media_type(url, answer)

    def blob(self, repository: str, part: Descriptor, name: str) -> Remote:
        """Where the file `part` is."""
        return Remote(f"{self._api}{repository}/blobs/{part.digest}", part.sha256, name, part.size)

    def headers(self, repository: str) -> dict[str, str]:
        """What a request for a blob of `repository` must carry, once its manifest was read."""
        token = self._tokens.get(repository)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _url(self, repository: str, reference: str) -> str:
        return f"{self._api}{repository}/manifests/{reference}"

    def _of_arch(self, repository: str, index: bytes, arch: str) -> tuple[bytes, str]:
        try:
            choices = _Index.model_validate_json(index).manifests
        except ValidationError as error:
            raise LabError(f"the registry's index of {repository} is none: {error.errors()[0]['msg']}") from error
        for choice in choices:
            if (choice.platform.os, choice.platform.architecture) == ("linux", arch):
                found = self.manifest(repository, choice.digest)
                if found is None:
                    raise refused(self._url(repository, choice.digest), HTTPStatus.NOT_FOUND)
                return found
        raise LabError(f"{repository} in the registry has no image for linux/{arch}")

    def _ask(self, url: str, repository: str) -> Answer:
        answer = self._fetcher.answer(url, {"Accept": _ACCEPT, **self.headers(repository)})
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        self._tokens[repository] = self._token(url, answer.headers.get("WWW-Authenticate", ""))
        return self._fetcher.answer(url, {"Accept": _ACCEPT, **self.headers(repository)})

    def _token(self, url: str, challenge: str) -> str:
        """An anonymous token, from where the registry says (the Distribution token protocol)."""
        words = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = words.pop("realm", "")
        if not challenge.lower().startswith("bearer ") or not realm:
            raise LabError(
                f"{url}: the registry wants a login, and labctl has none", "use a mirror that anyone may read"
            )
        answer = self._fetcher.answer(f"{realm}?{urlencode(words)}")
        if answer.status != HTTPStatus.OK:
            raise refused(realm, answer.status)
        try:
            given = json.loads(answer.body)
            token: str = given.get("token") or given["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise LabError(f"{realm} gave no token", _ASK) from error
        return token


class _Typed(_Foreign):
    media_type: str = ""


def _media_type(url: str, answer: Answer) -> str:
    """What the manifest itself says: some servers say less in their header."""
    try:
        inside = _Typed.model_validate_json(answer.body).media_type
    except ValidationError as error:
        raise LabError(f"{url} is no manifest: {answer.body[:60]!r}", _ASK) from error
    return inside or answer.headers.get("Content-Type", "").partition(";")[0]


def _digest(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
