"""Against an authority made here; that Sigstore's own is understood was tried by hand on a published signature."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labctl.bundle import ensure, signature
from labctl.bundle.catalog import release_for
from labctl.config_bundle import BundleSource
from labctl.errors import LabError
from tests.upstream import mirrors, publish_small
from tests.web import Web

VERSION = "1.37.2"
KUBELET = f"/dl/release/v{VERSION}/bin/linux/amd64/kubelet"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Authority:
    """A certificate authority like Fulcio."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._make(self._name, self._key.public_key(), NOW, 3650, [])

    def leaf(
        self,
        email: str = signature.FILES_BY,
        issuer: bytes = b"https://accounts.google.com",
        start: datetime = NOW + timedelta(days=1),
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[x509.ExtensionType] = [
            x509.SubjectAlternativeName([x509.RFC822Name(email)]),
            x509.ExtendedKeyUsage([usage]),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), issuer),
        ]
        made = self._make(x509.Name([]), key.public_key(), start, 1, extensions)
        return made.public_bytes(serialization.Encoding.PEM), key

    def _make(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        start: datetime,
        days: int,
        extensions: list[x509.ExtensionType],
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA384())


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority()
    file = tmp_path / "authority.pem"
    file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setattr(signature, "_AUTHORITY", file)
    return made


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    publish_small(server, release_for(VERSION, "amd64"))
    yield server
    server.close()


def publish(web: Web, leaf: tuple[bytes, ec.EllipticCurvePrivateKey], content: bytes) -> None:
    certificate, key = leaf
    web.files[f"{KUBELET}.sig"] = base64.b64encode(key.sign(content, ec.ECDSA(hashes.SHA256())))
    web.files[f"{KUBELET}.cert"] = base64.b64encode(certificate)


def publish_image(web: Web, leaf: tuple[bytes, ec.EllipticCurvePrivateKey], of: str, digest: str) -> None:
    certificate, key = leaf
    statement = json.dumps({"critical": {"image": {"docker-manifest-digest": digest}}}).encode()
    signed = base64.b64encode(key.sign(statement, ec.ECDSA(hashes.SHA256()))).decode()
    blob = f"sha256:{hashlib.sha256(statement).hexdigest()}"
    web.files[f"/v2/pause/blobs/{blob}"] = statement
    part = {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": blob, "size": len(statement)}
    notes = {"dev.cosignproject.cosign/signature": signed, "dev.sigstore.cosign/certificate": certificate.decode()}
    kind = "application/vnd.oci.image.manifest.v1+json"
    web.manifest(
        "pause",
        of.replace(":", "-") + ".sig",
        {"mediaType": kind, "config": part, "layers": [{**part, "annotations": notes}]},
    )


def download(web: Web) -> dict[str, str]:
    wanted = BundleSource.model_validate({"source": "download", "mirrors": mirrors(web)})
    manifest = ensure(VERSION, lambda event: None, wanted, arch="amd64").manifest
    return {entry.path: entry.checked for entry in manifest.entries}


def test_a_signature_is_verified_where_one_is_published(web: Web, authority: Authority) -> None:
    publish(web, authority.leaf(), b"bin/kubelet 1.37.2")
    checked = download(web)
    assert checked.pop("bin/kubelet") == "signature"
    assert set(checked.values()) == {"checksum"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"email": "mallory@example.org"}, "made by mallory@example.org, not by krel-staging"),
        ({"issuer": b"https://example.org"}, "was not identified by https://accounts.google.com"),
        ({"start": NOW - timedelta(days=9)}, "made while its authority's certificate was not valid"),
        ({"usage": ExtendedKeyUsageOID.SERVER_AUTH}, "not for signing code"),
    ],
)
def test_a_signature_of_somebody_else_is_refused(
    web: Web, authority: Authority, change: dict[str, object], said: str
) -> None:
    publish(web, authority.leaf(**change), b"bin/kubelet 1.37.2")  # type: ignore[arg-type]
    with pytest.raises(LabError, match=f"kubelet: the signature cannot be trusted: .*{said}"):
        download(web)


def test_another_authority_is_refused(web: Web, authority: Authority) -> None:
    publish(web, Authority().leaf(), b"bin/kubelet 1.37.2")
    with pytest.raises(LabError, match="kubelet: the signature"):
        download(web)


def test_a_signature_of_another_file_is_refused(web: Web, authority: Authority) -> None:
    publish(web, authority.leaf(), b"bin/kubelet 6.6.6")
    with pytest.raises(LabError, match="kubelet: the signature does not belong to it"):
        download(web)


def test_nonsense_is_refused(web: Web, authority: Authority) -> None:
    publish(web, authority.leaf(), b"bin/kubelet 1.37.2")
    web.files[f"{KUBELET}.cert"] = b"bm8gY2VydGlmaWNhdGU="
    with pytest.raises(LabError, match="kubelet: the signature cannot be trusted"):
        download(web)


def test_an_image_with_a_signature(web: Web, authority: Authority) -> None:
    digest = web.image("pause", "3.10.2", b"layer")
    publish_image(web, authority.leaf(signature.IMAGES_BY), digest, digest)
    assert download(web)["images/pause.tar"] == "signature"


def test_an_image_with_the_signature_of_another_one(web: Web, authority: Authority) -> None:
    digest = web.image("pause", "3.10.2", b"layer")
    publish_image(web, authority.leaf(signature.IMAGES_BY), digest, "sha256:" + "1" * 64)
    with pytest.raises(LabError, match="the signature is of another image"):
        download(web)


def test_the_authority_that_labctl_trusts() -> None:
    certificate = x509.load_pem_x509_certificate(signature._AUTHORITY.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=sigstore-intermediate,O=sigstore.dev"
    printed = "15d795348226b4649f750f5802592c393bee7cc53c3b86982175b7ad087efe47"
    assert certificate.fingerprint(hashes.SHA256()).hex() == printed
