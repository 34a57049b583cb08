"""A real registry on loopback (distribution), and upstream's images in it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from labctl.bundle import Bundle
from labctl.bundle.upstream import Release

_SOURCE = Path(__file__).parent / "registry"
_OCI = "application/vnd.oci.image"


@contextmanager
def registry(program: Path, folder: Path, certificate: Path, key: Path) -> Iterator[str]:
    """A registry that keeps its images in `folder`; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "images")}}
    http = {"addr": address, "secret": "tests", "tls": {"certificate": str(certificate), "key": str(key)}}
    config.write_text(json.dumps({"version": "0.1", "log": {"level": "error"}, "storage": storage, "http": http}))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        _await(address, server)
        yield f"https://{address}"
    finally:
        server.terminate()
        server.wait(10)


def build_registry(cache: Path) -> Path:
    """The registry's program, built from its module once."""
    sources = b"".join((_SOURCE / name).read_bytes() for name in ("go.mod", "go.sum"))
    program = cache / f"registry-{hashlib.sha256(sources).hexdigest()[:12]}"
    if not program.exists():
        package = "github.com/distribution/distribution/v3/cmd/registry"
        cache.mkdir(parents=True, exist_ok=True)
        go = shutil.which("go")
        assert go, "the tests of downloads need Go in PATH"
        argv = [go, "build", "-o", f"{program}.new", package]
        subprocess.run(argv, cwd=_SOURCE, env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}, check=True)
        Path(f"{program}.new").rename(program)
    return program


def push_images(base: str, ca: Path, bundle: Bundle, release: Release) -> None:
    """Push the images of a built `bundle` under the names that `release` has at upstream's, layers compressed."""
    client = _Client(base, ca)
    tars = {entry.path: bundle.path / entry.path for entry in bundle.manifest.images}
    for image in release.images:
        client.push(tars[image.path], image.repository, image.tag, release.arch)


class _Client:
    def __init__(self, base: str, ca: Path) -> None:
        self._base = base
        self._http = urllib3.PoolManager(ca_certs=str(ca))

    def push(self, tar: Path, repository: str, tag: str, arch: str) -> None:
        with tarfile.open(tar) as packed:
            held = {info.name: packed.extractfile(info).read() for info in packed}  # type: ignore[union-attr]
        [entry] = json.loads(held["index.json"])["manifests"]
        manifest = json.loads(held["blobs/" + entry["digest"].replace(":", "/")])
        [layer] = manifest["layers"]
        packed_layer = gzip.compress(held["blobs/" + layer["digest"].replace(":", "/")], compresslevel=1, mtime=0)
        config = held["blobs/" + manifest["config"]["digest"].replace(":", "/")]
        manifest["config"] = self._blob(repository, f"{_OCI}.config.v1+json", config)
        manifest["layers"] = [self._blob(repository, f"{_OCI}.layer.v1.tar+gzip", packed_layer)]
        one = self._manifest(repository, "", manifest)
        one["platform"] = {"os": "linux", "architecture": arch}
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [one]}
        self._manifest(repository, tag, index)

    def _blob(self, repository: str, media_type: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self._http.request("POST", f"{self._base}/v2/{repository}/blobs/uploads/")
        assert begun.status == 202, begun.data
        place = f"{begun.headers['Location']}&digest={digest}"
        put = self._http.request("PUT", place, body=content, headers={"Content-Type": "application/octet-stream"})
        assert put.status == 201, put.data
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _manifest(self, repository: str, tag: str, content: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        url = f"{self._base}/v2/{repository}/manifests/{tag or digest}"
        put = self._http.request("PUT", url, body=text, headers={"Content-Type": content["mediaType"]})
        assert put.status == 201, put.data
        return {"mediaType": content["mediaType"], "digest": digest, "size": len(text)}


def _await(address: str, server: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            assert server.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.05)
        else:
            return
