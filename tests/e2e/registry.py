"""A registry that hands out one image, for tests of how machines reach registries. It also answers as a proxy would."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.conftest import podman

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def serving(
    image: str, address: str, folder: Path, *, tls: tuple[Path, Path] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Serve the engine's `image` at `address` under any name; yields the port and the targets that were asked for."""
    layout = folder / "layout"
    if not layout.exists():
        podman("save", "--quiet", "--format", "oci-dir", "--output", str(layout), image)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    asked: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            parts = urlsplit(self.path).path.strip("/").split("/")
            kind, reference = (parts[-2], parts[-1]) if len(parts) > 3 else ("", "")
            if kind == "manifests" and not reference.startswith("sha256:"):
                reference = manifest
            file = layout / "blobs" / "sha256" / reference.removeprefix("sha256:")
            body = file.read_bytes() if kind else b"{}"
            self.send_response(200)
            self.send_header("Content-Type", _MANIFEST if kind == "manifests" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 (the library's name)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer((address, 0), Registry) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def authority(folder: Path, address: str) -> tuple[Path, tuple[Path, Path]]:
    """A certificate authority of one's own, and a certificate with its key for `address`."""
    ca, ca_key, request = folder / "ca.pem", folder / "ca.key", folder / "request.pem"
    certificate, key, extension = folder / "server.pem", folder / "server.key", folder / "extension"
    extension.write_text(f"subjectAltName=IP:{address}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for words in (
        ("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=test authority"),
        ("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=test registry"),
        (
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            ca,
            "-CAkey",
            ca_key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            extension,
            "-out",
            certificate,
        ),
    ):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    return ca, (certificate, key)
