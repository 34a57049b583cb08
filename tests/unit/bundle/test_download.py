from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl import paths
from labctl.bundle import Bundle, ensure, ensure_whole, find, source
from labctl.bundle.catalog import release_for
from labctl.bundle.fetch import Fetcher, Patience
from labctl.bundle.upstream import Release
from labctl.config_bundle import BundleSource
from labctl.errors import LabError, PrerequisiteError, UsageError
from labctl.events import Emit, Event, Progress, Warned
from tests.upstream import mirrors, publish_small
from tests.web import Web

VERSION = "1.37.2"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Patience(connect_s=2, silent_s=0.3, tries=2, backoff_s=0.01)
    monkeypatch.setattr(source, "Fetcher", lambda emit: Fetcher(emit, quick))


@pytest.fixture
def release() -> Release:
    return release_for(VERSION, "amd64")


@pytest.fixture
def web(release: Release) -> Iterator[Web]:
    server = Web()
    publish_small(server, release)
    yield server
    server.close()


def wanted(web: Web, chosen: str = "download", versions: dict[str, str] | None = None) -> BundleSource:
    return BundleSource.model_validate({"source": chosen, "mirrors": mirrors(web), "versions": versions or {}})


def download(web: Web, emit: Emit, versions: dict[str, str] | None = None) -> Bundle:
    return ensure(VERSION, emit, wanted(web, versions=versions), arch="amd64")


def test_a_bundle_from_upstreams_layout(web: Web, release: Release, events: list[Event]) -> None:
    made = download(web, events.append)
    assert made.verify() == []
    assert made.path == paths.bundles() / release.hash
    manifest = made.manifest
    assert (manifest.source, manifest.kubernetes, manifest.arch, manifest.go) == ("download", VERSION, "amd64", "")
    assert made.program("kubelet").read_bytes() == b"bin/kubelet 1.37.2"
    assert made.program("ptp").read_bytes() == b"cni/ptp 1.9.1"
    assert made.program("etcdctl").read_bytes() == b"bin/etcdctl 3.7.0"
    assert {entry.origin.split("/")[2] for entry in manifest.programs} == {"dl.k8s.io", "github.com"}
    assert [image.ref for image in manifest.images] == [
        "registry.k8s.io/kube-apiserver:v1.37.2",
        "registry.k8s.io/kube-controller-manager:v1.37.2",
        "registry.k8s.io/kube-scheduler:v1.37.2",
        "registry.k8s.io/kube-proxy:v1.37.2",
        "registry.k8s.io/etcd:3.7.0-0",
        "registry.k8s.io/coredns/coredns:v1.14.6",
        "registry.k8s.io/pause:3.10.2",
        "registry.k8s.io/descheduler/descheduler:v0.36.0",
        "localhost/busybox:1",
        "localhost/helloworld:1",
    ]
    assert find(VERSION, wanted(web), "amd64") == made
    asked = len(web.seen)
    assert download(web, events.append) == made
    assert len(web.seen) == asked


def layout(tar: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, bytes]]:
    with tarfile.open(tar) as packed:
        members = {info.name: packed.extractfile(info).read() for info in packed}  # type: ignore[union-attr]
    [entry] = json.loads(members["index.json"])["manifests"]
    manifest = json.loads(members["blobs/" + entry["digest"].replace(":", "/")])
    return entry, manifest, members


def test_an_image_is_what_the_registry_had(web: Web, events: list[Event]) -> None:
    made = download(web, events.append)
    entry, manifest, members = layout(made.path / "images/coredns.tar")
    assert entry["annotations"]["io.containerd.image.name"] == "registry.k8s.io/coredns/coredns:v1.14.6"
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    for part in (manifest["config"], *manifest["layers"]):
        held = members["blobs/" + part["digest"].replace(":", "/")]
        assert held == web.files[f"/v2/coredns/coredns/blobs/{part['digest']}"]


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_hello_world_is_busybox_with_a_page(web: Web, release: Release, events: list[Event], kind: str) -> None:
    publish_small(web, release, docker=kind == "docker")
    made = download(web, events.append)
    _, busybox, _ = layout(made.path / "images/busybox.tar")
    _, manifest, members = layout(made.path / "images/helloworld.tar")
    assert [layer["digest"] for layer in manifest["layers"]][:-1] == [part["digest"] for part in busybox["layers"]]
    assert all(layer["mediaType"].startswith("application/vnd.oci.image.layer.v1.tar") for layer in manifest["layers"])
    config = json.loads(members["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert config["config"]["Entrypoint"] == ["/bin/sh", "/hello/start"]
    assert config["rootfs"]["diff_ids"][-1] == manifest["layers"][-1]["digest"]
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 2


def test_a_killed_download_goes_on(web: Web, events: list[Event]) -> None:
    """Killed at the ninth large file: the eight before are not fetched again."""

    def die(event: Event) -> None:
        if isinstance(event, Progress) and event.text.startswith("fetching kube-proxy"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(web, die)
    assert find(VERSION, wanted(web), "amd64") is None
    fetched = [path for path, _ in web.seen if path.endswith(("kubelet", ".tgz"))]
    web.seen.clear()
    assert download(web, events.append).verify() == []
    assert len(fetched) == 2
    assert not {path for path, _ in web.seen} & set(fetched)


def test_a_damaged_file_is_named_and_alone_fetched_again(web: Web, events: list[Event]) -> None:
    made = download(web, events.append)
    kubelet = made.program("kubelet")
    kubelet.chmod(0o755)
    kubelet.write_bytes(b"bin/kubelet 6.6.6")
    (made.path / "images/etcd.tar").write_bytes(b"")
    assert [problem.partition(" has ")[0] for problem in made.verify()] == [
        "wrong size: bin/kubelet",
        "wrong size: images/etcd.tar",
    ]
    web.seen.clear()
    events.clear()
    assert ensure_whole(VERSION, events.append, wanted(web), "amd64").verify() == []
    large = [path for path, _ in web.seen if path.endswith(("/kubelet", ".gz", ".tgz")) or "/blobs/" in path]
    assert large == [f"/dl/release/v{VERSION}/bin/linux/amd64/kubelet"]
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert any("bin/kubelet" in text for text in warned)
    assert any("images/etcd.tar" in text for text in warned)


def test_a_checksum_that_is_not_there_names_the_file(web: Web, release: Release) -> None:
    path = next(path for path in web.files if path.endswith("runc.sha256sum"))
    web.files[path] = b"nothing to see\n"
    with pytest.raises(LabError, match=r"runc\.sha256sum has no SHA-256 of runc\.amd64"):
        download(web, lambda event: None)


def test_an_image_that_is_not_there_is_said_before_anything_large(web: Web) -> None:
    del web.files["/v2/pause/manifests/3.10.2"]
    with pytest.raises(LabError, match=r"/v2/pause/manifests/3\.10\.2: HTTP 404"):
        download(web, lambda event: None)
    assert not [path for path, _ in web.seen if "/blobs/" in path or path.endswith("/kubelet")]


def test_another_architecture(web: Web, events: list[Event]) -> None:
    with pytest.raises(LabError, match="arm64"):
        ensure(VERSION, events.append, wanted(web), arch="arm64")
    publish_small(web, release_for(VERSION, "arm64"))
    made = ensure(VERSION, events.append, wanted(web), arch="arm64")
    assert made.manifest.arch == "arm64"
    entry, _, _ = layout(made.path / "images/pause.tar")
    assert entry["platform"]["architecture"] == "arm64"
    assert find(VERSION, wanted(web), "amd64") is None


def test_another_patch_release_needs_no_recipe(web: Web, events: list[Event]) -> None:
    publish_small(web, release_for("1.36.9", "amd64"))
    made = ensure("1.36.9", events.append, wanted(web), arch="amd64")
    assert made.manifest.components["etcd"] == "3.6.8"


def test_other_versions_of_components(web: Web, events: list[Event]) -> None:
    publish_small(web, release_for(VERSION, "amd64", {"containerd": "2.2.5"}))
    made = download(web, events.append, versions={"containerd": "2.2.5"})
    assert made.program("containerd").read_bytes() == b"bin/containerd 2.2.5"
    with pytest.raises(UsageError, match=r"containerd 1\.7\.30 cannot be used: it must be 2\.0 or newer"):
        download(web, events.append, versions={"containerd": "1.7.30"})


def test_auto_downloads_where_it_can_and_says_so(
    web: Web, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_is_built", lambda version, arch: False)
    made = ensure(VERSION, events.append, wanted(web, "auto"), arch="amd64")
    assert made.manifest.source == "download"
    assert any(isinstance(event, Progress) and "it can: upstream has all" in event.text for event in events)
    assert ensure(VERSION, events.append, wanted(web, "auto"), arch="amd64") == made


def test_auto_builds_where_it_cannot_and_says_why(
    web: Web, events: list[Event], monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    del web.files["/v2/pause/manifests/3.10.2"]
    monkeypatch.setattr(source, "_is_built", lambda version, arch: False)
    monkeypatch.setattr(source, "_build", lambda recipe, emit: bundle)
    assert ensure(VERSION, events.append, wanted(web, "auto"), arch="amd64") == bundle
    [warned] = [event.text for event in events if isinstance(event, Warned)]
    assert "cannot be downloaded here" in warned
    assert "/v2/pause/manifests/3.10.2: HTTP 404" in warned


def test_auto_names_both_reasons(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PrerequisiteError("building needs gcc", "apt-get install gcc")

    del web.files["/v2/pause/manifests/3.10.2"]
    monkeypatch.setattr(source, "_is_built", lambda version, arch: False)
    monkeypatch.setattr(source, "_build", refuse)
    with pytest.raises(PrerequisiteError, match=r"(?s)download: .*HTTP 404.*build: building needs gcc") as caught:
        ensure(VERSION, lambda event: None, wanted(web, "auto"), arch="amd64")
    assert "apt-get install gcc" in caught.value.hint


def test_auto_puts_together_what_was_built_before(
    web: Web, events: list[Event], monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    monkeypatch.setattr(source, "_is_built", lambda version, arch: True)
    monkeypatch.setattr(source, "_build", lambda recipe, emit: bundle)
    assert ensure(VERSION, events.append, wanted(web, "auto"), arch="amd64") == bundle
    assert web.seen == []


def test_an_archive_that_is_packed_differently_names_what_it_lacks(web: Web) -> None:
    publish_small(web, release_for(VERSION, "amd64"), etcd_folder="elsewhere")
    with pytest.raises(
        LabError, match=r"etcd-v3\.7\.0-linux-amd64\.tar\.gz holds no etcd-v3\.7\.0-linux-amd64/etcdctl"
    ):
        download(web, lambda event: None)
