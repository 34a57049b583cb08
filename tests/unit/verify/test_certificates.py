from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labctl.verify.certificates import collected
from labctl.verify.node import parts

NOW = datetime.now(UTC)
AUTHORITY, OTHER, NODE = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def public(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def issue(key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, start: datetime = NOW) -> str:
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:node:one"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    names = x509.SubjectAlternativeName([x509.DNSName("one"), x509.IPAddress(IPv4Address("10.0.0.1"))])
    own, end = issuer if key is by else subject, start + timedelta(days=9)
    builder = x509.CertificateBuilder(issuer, own, key.public_key(), 1, start, end)
    if key is not by:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def text() -> str:
    return (
        f"=== /ca.crt\n{issue(AUTHORITY, AUTHORITY)}"
        f"=== /good.crt\n{issue(NODE, AUTHORITY)}{public(NODE)}"
        f"=== /misfit.crt\n{issue(NODE, AUTHORITY)}{public(OTHER)}"
        f"=== /stranger.crt\n{issue(NODE, OTHER)}{public(NODE)}"
        f"=== /later.crt\n{issue(NODE, AUTHORITY, NOW + timedelta(days=1))}"
    )


def test_who_a_certificate_is_for(text: str) -> None:
    found = collected(text)
    assert found["/good.crt"].owner == "system:node:one, system:nodes"
    assert found["/good.crt"].names == ["one", "10.0.0.1"]
    assert found["/ca.crt"].names == []


def test_whether_the_key_beside_it_fits(text: str) -> None:
    found = collected(text)
    assert found["/ca.crt"].public_key == ""
    assert found["/good.crt"].fits
    assert not found["/misfit.crt"].fits


def test_who_signed_it(text: str) -> None:
    found = collected(text)
    assert found["/good.crt"].is_signed_by(found["/ca.crt"])
    assert not found["/stranger.crt"].is_signed_by(found["/ca.crt"])
    assert not found["/ca.crt"].is_signed_by(found["/good.crt"])


def test_since_when_it_is_valid(text: str) -> None:
    found = collected(text)
    assert {path for path, one in found.items() if one.starts_later} == {"/later.crt"}


def test_parts_begin_at_their_names() -> None:
    assert parts("noise\n=== a\n1\n\n2\n=== b\n=== c d\n3") == {"a": "1\n\n2\n", "b": "", "c d": "3"}
