from __future__ import annotations

from collections.abc import Iterator

import pytest

from labctl.bundle.fetch import Fetcher, Patience
from labctl.bundle.registry import Registry
from labctl.errors import LabError
from tests.web import Web


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    server.image("some/pause", "3.10", b"layer")
    yield server
    server.close()


@pytest.fixture
def registry(web: Web) -> Registry:
    fetcher = Fetcher(lambda event: None, Patience(connect_s=2, silent_s=1, tries=2, backoff_s=0.01))
    return Registry(web.url, fetcher)


def test_the_image_of_the_architecture_is_chosen(registry: Registry) -> None:
    pulled = registry.pull("some/pause", "3.10", "amd64")
    assert pulled.manifest.layers[0].size == 5
    with pytest.raises(LabError, match="no image for linux/arm64"):
        registry.pull("some/pause", "3.10", "arm64")


def test_a_mirror_may_have_a_folder(web: Web) -> None:
    web.image("mirror/k8s/pause", "3.10", b"layer")
    fetcher = Fetcher(lambda event: None)
    pulled = Registry(f"{web.url}/mirror/k8s/", fetcher).pull("pause", "3.10", "amd64")
    assert pulled.manifest.layers[0].size == 5


def test_a_token_is_fetched_where_the_registry_says(web: Web, registry: Registry) -> None:
    web.token = "abc"  # noqa: S105 (no secret)
    assert registry.pull("some/pause", "3.10", "amd64")
    assert registry.headers("some/pause") == {"Authorization": "Bearer abc"}
    assert [path for path, _ in web.seen].count("/token") == 1


def test_a_registry_that_wants_a_password_is_said(
    web: Web, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.faults["/v2/some/pause/manifests/3.10"] = [401]
    with pytest.raises(LabError, match="wants a login"):
        registry.pull("some/pause", "3.10", "amd64")


@pytest.mark.parametrize("text", [b"<html>", b"[]", b'{"mediaType": "application/vnd.oci.image.index.v1+json"}'])
def test_nonsense_is_no_bug(web: Web, registry: Registry, text: bytes) -> None:
    web.files["/v2/some/pause/manifests/3.10"] = text
    with pytest.raises(LabError, match="some/pause"):
        registry.pull("some/pause", "3.10", "amd64")


def test_a_manifest_that_is_not_what_its_digest_says(web: Web, registry: Registry) -> None:
    path = next(path for path in web.files if "/manifests/sha256:" in path and b'"layers"' in web.files[path])  # type: ignore[operator]
    web.files[path] = b'{"mediaType": "application/vnd.oci.image.manifest.v1+json"}'
    with pytest.raises(LabError, match="has the checksum sha256:"):
        registry.pull("some/pause", "3.10", "amd64")


def test_a_digest_that_is_a_path_is_refused(web: Web, registry: Registry) -> None:
    part = {"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}
    kind = "application/vnd.oci.image.manifest.v1+json"
    web.manifest("some/pause", "evil", {"mediaType": kind, "config": part, "layers": []})
    with pytest.raises(LabError, match="manifest of some/pause is none"):
        _ = registry.pull("some/pause", "evil", "amd64").size


def test_an_image_without_an_index_will_do(web: Web, registry: Registry) -> None:
    path = next(path for path in web.files if "/manifests/sha256:" in path and b'"layers"' in web.files[path])  # type: ignore[operator]
    web.files["/v2/some/pause/manifests/plain"] = web.files[path]
    assert registry.pull("some/pause", "plain", "amd64").manifest.layers[0].size == 5
