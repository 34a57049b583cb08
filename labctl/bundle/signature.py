"""Signatures that Kubernetes publishes: keyless ones of Sigstore, checked without asking Sigstore's servers.

Checked: the certificate is Fulcio's, was made for the release process of Kubernetes, and its key signed this content.
Not checked: that the signature is in Rekor, the public log, which says *when* it was made. Such a certificate is good
for ten minutes; without the log, a key stolen from a past release process would go unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from labctl.bundle.fetch import Fetcher
from labctl.bundle.registry import Descriptor, Pulled, Registry
from labctl.errors import LabError

FILES_BY = "krel-staging@k8s-releng-prod.iam.gserviceaccount.com"
IMAGES_BY = "krel-trust@k8s-releng-prod.iam.gserviceaccount.com"
_ISSUER = b"https://accounts.google.com"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_AUTHORITY = Path(__file__).resolve().parent / "fulcio.pem"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_HINT = "do not use it; ask who runs the server, and upstream"


@dataclass(frozen=True)
class Signature:
    """A signature of what has the SHA-256 that `verify` is asked about, and who must have made it."""

    what: str
    value: bytes
    certificate: bytes
    signer: str

    def verify(self, sha256: str) -> None:
        """Raise `LabError` unless `signer` signed the content with this checksum."""
        authority = x509.load_pem_x509_certificate(_AUTHORITY.read_bytes())
        try:
            leaf = x509.load_pem_x509_certificate(self.certificate)
            leaf.verify_directly_issued_by(authority)
            if not authority.not_valid_before_utc <= leaf.not_valid_before_utc <= authority.not_valid_after_utc:
                raise ValueError("made while its authority's certificate was not valid")  # noqa: TRY301
            _check_holder(leaf, self.signer)
            key = leaf.public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise TypeError("not an elliptic curve key")  # noqa: TRY301
            key.verify(self.value, bytes.fromhex(sha256), ec.ECDSA(utils.Prehashed(SHA256())))
        except InvalidSignature as error:
            raise LabError(f"{self.what}: the signature does not belong to it", _HINT) from error
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise LabError(f"{self.what}: the signature cannot be trusted: {error}", _HINT) from error


def of_file(url: str, fetcher: Fetcher) -> Signature | None:
    """The signature published beside the file at `url` (.sig and .cert), or None."""
    texts = []
    for suffix in (".sig", ".cert"):
        answer = fetcher.answer(url + suffix)
        if answer.status != HTTPStatus.OK:
            return None
        texts.append(answer.body)
    return Signature(url, _decoded(url, texts[0]), _pem(url, texts[1]), FILES_BY)


def of_image(registry: Registry, pulled: Pulled) -> tuple[Signature, Descriptor] | None:
    """The signature that cosign published beside an image, and the statement that it signs; None if there is none."""
    tag = pulled.digest.replace(":", "-") + ".sig"
    found = registry.manifest(pulled.repository, tag)
    if found is None:
        return None
    layers = Pulled(pulled.repository, pulled.digest, *found).manifest.layers
    for layer in layers:
        notes = layer.annotations
        if _SIGNATURE in notes and _CERTIFICATE in notes:
            what = f"{pulled.repository}@{pulled.digest}"
            value = _decoded(what, notes[_SIGNATURE].encode())
            return Signature(what, value, _pem(what, notes[_CERTIFICATE].encode()), IMAGES_BY), layer
    return None


def verify_image(signature: Signature, statement: bytes, pulled: Pulled) -> None:
    """Raise `LabError` unless `signature` is one of `statement`, and that speaks of this image."""
    signature.verify(hashlib.sha256(statement).hexdigest())
    try:
        named = json.loads(statement)["critical"]["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{signature.what}: what was signed names no image", _HINT) from error
    if named != pulled.digest:
        raise LabError(f"{signature.what}: the signature is of another image, {named}", _HINT)


def _check_holder(leaf: x509.Certificate, signer: str) -> None:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    holders = names.get_values_for_type(x509.RFC822Name)
    if holders != [signer]:
        raise ValueError(f"made by {', '.join(holders) or 'nobody'}, not by {signer}")
    issuer = leaf.extensions.get_extension_for_oid(_ISSUER_OID).value
    if not isinstance(issuer, x509.UnrecognizedExtension) or issuer.value != _ISSUER:
        raise ValueError(f"{signer} was not identified by {_ISSUER.decode()}")
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise ValueError("its certificate is not for signing code")


def _decoded(what: str, text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error as error:
        raise LabError(f"{what}: its signature is no base64", _HINT) from error


def _pem(what: str, text: bytes) -> bytes:
    """A certificate as PEM; cosign writes it as base64 of PEM into files."""
    return text if text.lstrip().startswith(b"-----BEGIN") else _decoded(what, text)
