"""Bundles from upstream's layout on real servers: TLS with an authority of its own, a proxy, a kill, a file, a lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from labctl import bundle, paths
from labctl.bundle.catalog import release_for
from labctl.bundle.upstream import DOWNLOADS, GITHUB, REGISTRY
from labctl.config import DEFAULT_KUBERNETES
from labctl.config_bundle import BundleSource
from tests.e2e.conftest import LABCTL, Cli
from tests.e2e.local_upstream import build_registry, push_images, registry
from tests.upstream import publish_files
from tests.web import Web, make_authority, proxy, server_context

pytestmark = pytest.mark.slow  # builds a registry, and moves 540 MB to and fro


@dataclass
class Place:
    """A machine with a cache of its own, whose labctl.yml names the local servers."""

    folder: Path
    web: Web
    registry: str
    ca: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [LABCTL, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    @property
    def environment(self) -> dict[str, str]:
        quiet = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        own = {"XDG_CACHE_HOME": str(self.folder / "cache"), "LABCTL_HOME": str(self.folder / "home")}
        return {**quiet, **own, "SSL_CERT_FILE": str(self.ca), **self.env}

    @property
    def downloads(self) -> Path:
        return self.folder / "cache/labctl/downloads"

    def write(self, **source: object) -> None:
        mirrors = {DOWNLOADS: f"{self.web.url}/dl", GITHUB: f"{self.web.url}/gh", REGISTRY: self.registry}
        text = yaml.safe_dump({"bundle": {"mirrors": mirrors, **source}})
        (self.folder / "labctl.yml").write_text(text)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Beside the cache: a machine's disk shares files with it by hard links."""
    built = bundle.find(DEFAULT_KUBERNETES, BundleSource(source="build"))
    assert built, "labctl bundle build comes first"
    release = release_for(DEFAULT_KUBERNETES)
    folder = paths.cache() / f"e2e-bundle-{os.getpid()}"
    (folder / "registry").mkdir(parents=True)
    ca, key = make_authority(folder)
    web = Web(tls=server_context(ca, key))
    programs = {entry.path: built.path / entry.path for entry in built.manifest.programs}
    publish_files(web, release, programs)
    try:
        with registry(build_registry(paths.cache() / "tests"), folder / "registry", ca, key) as address:
            push_images(address, ca, built, release)
            made = Place(folder, web, address, ca)
            made.write(source="download")
            yield made
    finally:
        web.close()
        shutil.rmtree(folder)


def test_an_unknown_authority_is_refused_with_the_way_out(place: Place) -> None:
    place.env["SSL_CERT_FILE"] = "/dev/null"
    try:
        said = place("bundle", "download", code=5)
    finally:
        del place.env["SSL_CERT_FILE"]
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "SSL_CERT_FILE=" in said


def test_a_download_that_was_killed_goes_on(place: Place) -> None:
    """Killed in the middle of the kubelet, by SIGKILL; then the rest comes through a proxy."""
    kubelet = next(path for path in place.web.files if path.endswith("/kubelet"))
    place.web.faults[kubelet] = ["stall"]
    child = subprocess.Popen([LABCTL, "bundle", "download"], cwd=place.folder, env=place.environment)
    checksum = place.web.files[f"{kubelet}.sha256"]
    assert isinstance(checksum, bytes)
    part = place.downloads / f"{checksum.decode()}.part"
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 10_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    place.web.unstall.set()
    whole = {path.name for path in place.downloads.iterdir()} - {part.name}
    size = part.stat().st_size
    place.web.seen.clear()
    with proxy() as (address, asked):
        place.env["https_proxy"] = address
        try:
            folder = place("bundle", "download").strip()
        finally:
            del place.env["https_proxy"]
    assert {line.partition(" ")[0] for line in asked} == {"CONNECT"}
    assert (kubelet, f"bytes={size}-") in place.web.seen
    assert len(whole) == 1, "kubeadm was there"
    assert not [path for path, _ in place.web.seen if path.endswith("/kubeadm")]
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    assert manifest["source"] == "download"
    assert "every checksum is right" in place("bundle", "verify")


def test_a_damaged_layer_is_named_and_fetched_again(place: Place) -> None:
    folder = Path(place("bundle", "show", "--path").strip())
    tar = folder / "images/etcd.tar"
    with tar.open("r+b") as image:
        image.seek(1_000_000)
        image.write(bytes(4096))
    largest = max(place.downloads.iterdir(), key=lambda file: file.stat().st_size)
    largest.chmod(0o644)
    with largest.open("r+b") as blob:
        blob.write(b"damaged")
    assert "wrong checksum: images/etcd.tar" in place("bundle", "verify", code=4)
    done = subprocess.run(
        [LABCTL, "bundle", "download"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "wrong checksum: images/etcd.tar; it is made again" in done.stderr
    assert "was damaged in" in done.stderr
    assert "every checksum is right" in place("bundle", "verify")


def test_an_image_that_the_registry_lacks(place: Place) -> None:
    said = place("bundle", "download", "--kubernetes", "1.35.1", code=5)
    assert "HTTP 404" in said


@pytest.mark.slow
def test_a_lab_from_a_file_that_was_downloaded_elsewhere(place: Place, home: Path) -> None:
    """download, export, another machine without any network, and its hello-world page."""
    file = place.folder / "lab.tar.zst"
    place("bundle", "export", str(file))
    assert file.stat().st_size < 500_000_000
    before = len(place.web.seen)
    airgapped = place.folder / "airgapped"
    airgapped.mkdir()
    config = {"timing": "drill", "workers": 1, "bundle": {"source": "file", "file": "../lab.tar.zst"}}
    (airgapped / "labctl.yml").write_text(yaml.safe_dump(config))
    lab = Cli(f"f-{os.getpid()}", home, airgapped)
    try:
        said = lab("up")
        assert "Hello World" in said
        images = lab.kubectl("get", "pods", "-A", "-o", "jsonpath={..image}").split()
        assert "registry.k8s.io/etcd:3.7.0-0" in images
        [node] = lab.kubectl("get", "pod", "hello-world", "-o", "jsonpath={.spec.nodeName}").split()
        assert node in said or "Hello World" in said
    finally:
        lab("down")
    assert len(place.web.seen) == before
