"""A web server on loopback that serves files as upstream does, and can be told to serve them badly; and a proxy."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Web:
    """`files` maps paths to contents; `faults` maps a path to what goes wrong there, one fault a request.

    Faults: a status such as 404; ``truncate`` (half of it, then the connection ends); ``stall`` (half of it, then
    silence); ``wrong`` (other bytes); ``no-range`` (the whole file, whatever was asked for); ``to URL`` (a redirect).
    """

    def __init__(self, files: dict[str, bytes | Path] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes | Path] = files or {}
        self.types: dict[str, str] = {}
        self.faults: dict[str, list[str | int]] = {}
        self.seen: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.token = ""
        self.unstall = threading.Event()
        self.attempts: list[int] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self._server.attempts = self.attempts
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def image(self, name: str, tag: str, *layers: bytes, arch: str = "amd64", docker: bool = False) -> str:
        """Add an image with an index, as registries keep them; returns the index's digest."""
        kind = "application/vnd.docker.distribution.manifest" if docker else "application/vnd.oci.image"
        diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        config = {"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
        layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else f"{kind}.layer.v1.tar+gzip"
        config_type = "application/vnd.docker.container.image.v1+json" if docker else f"{kind}.config.v1+json"
        parts = [self._blob(name, config_type, json.dumps(config).encode())]
        parts += [self._blob(name, layer_type, layer) for layer in layers]
        manifest_type = f"{kind}.v2+json" if docker else f"{kind}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": parts[0], "layers": parts[1:]}
        one = self.manifest(name, "", manifest)
        other = {**one, "digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "s390x"}}
        chosen = {**one, "platform": {"os": "linux", "architecture": arch}}
        index_type = f"{kind}.list.v2+json" if docker else f"{kind}.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": index_type, "manifests": [other, chosen]}
        return str(self.manifest(name, tag, index)["digest"])

    def manifest(self, name: str, tag: str, content: dict[str, Any]) -> dict[str, Any]:
        """Add a manifest by digest, and by `tag` if there is one; returns its descriptor."""
        text = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        for reference in filter(None, (tag, digest)):
            path = f"/v2/{name}/manifests/{reference}"
            self.files[path], self.types[path] = text, content["mediaType"]
        return {"mediaType": content["mediaType"], "digest": digest, "size": len(text)}

    def _blob(self, name: str, media_type: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.files[f"/v2/{name}/blobs/{digest}"] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def close(self) -> None:
        self.unstall.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    attempts: list[int]

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 (as the base class)
        self.attempts.append(client_address[1])
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        web, path = self.web, self.path.partition("?")[0]
        web.seen.append((path, self.headers.get("Range", "")))
        web.headers.append(dict(self.headers))
        if path == "/token":
            self._send(200, json.dumps({"token": web.token}).encode())
        elif web.token and path.startswith("/v2/") and self.headers.get("Authorization") != f"Bearer {web.token}":
            self._send(401, b"", {"WWW-Authenticate": f'Bearer realm="{web.url}/token",service="test"'})
        else:
            faults = web.faults.get(path)
            self._answer(path, faults.pop(0) if faults else "")

    def _answer(self, path: str, fault: str | int) -> None:
        found = self.web.files.get(path)
        if isinstance(fault, int) or found is None:
            self._send(fault if isinstance(fault, int) else 404, b"no such luck")
        elif fault.startswith("to "):
            self._send(302, b"", {"Location": fault.removeprefix("to ")})
        else:
            self._file(path, found.read_bytes() if isinstance(found, Path) else found, fault)

    def _file(self, path: str, content: bytes, fault: str) -> None:
        if fault == "wrong":
            content = bytes(len(content))
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        headers = {"Content-Type": self.web.types.get(path, "application/octet-stream")}
        if start is None or fault == "no-range":
            self._send(200, content, headers, fault)
        elif int(start[1]) >= len(content):
            self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            at = int(start[1])
            headers["Content-Range"] = f"bytes {at}-{len(content) - 1}/{len(content)}"
            self._send(206, content[at:], headers, fault)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: str = "") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault in ("truncate", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "stall":
                self.web.unstall.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(body)


def make_authority(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key: two files."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "labctl tests")])
    key, start = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    made = builder.sign(key, hashes.SHA256())
    certificate, secret = folder / "ca.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*pem))
    return certificate, secret


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that knows CONNECT, and plain requests to `Web`; yields its address and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            asked.append(f"CONNECT {self.path}")
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, there)
            self.close_connection = True

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            _, _, rest = self.path.partition("://")
            netloc, _, path = rest.partition("/")
            host, _, port = netloc.partition(":")
            head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items() if name != "Connection")
            with socket.create_connection((host, int(port))) as there:
                there.sendall(f"GET /{path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
                while chunk := there.recv(65536):
                    self.wfile.write(chunk)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until one side ends."""
    while True:
        ready, _, _ = select.select([one, other], [], [], 60)
        if not ready:
            return
        for source in ready:
            chunk = source.recv(65536)
            if not chunk:
                return
            (other if source is one else one).sendall(chunk)
