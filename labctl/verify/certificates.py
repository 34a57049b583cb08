"""A node's certificates, read without its keys: those stay on the node, which says their public halves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import NameOID

from labctl.verify.node import parts

COLLECT = r"""
certificate() { sed -n '/BEGIN CERT/,/END CERT/p;/END CERT/q'; }
public() { openssl pkey -pubout 2>/dev/null; }
for f in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet.crt; do
  [ -e "$f" ] || continue
  echo "=== $f"; certificate < "$f"; [ ! -e "${f%.crt}.key" ] || public < "${f%.crt}.key"
done
f=/var/lib/kubelet/pki/kubelet-client-current.pem
[ ! -e $f ] || { echo "=== $f"; certificate < $f; public < $f; }
for f in /etc/kubernetes/*.conf; do
  grep -q client-certificate-data "$f" || continue
  echo "=== $f"
  sed -n 's/.*client-certificate-data: //p' "$f" | base64 -d
  sed -n 's/.*client-key-data: //p' "$f" | base64 -d | public
done
true
"""
"""A shell script; `collected` reads what it prints."""
_PUBLIC = "-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True)
class Certificate:
    """A certificate, and the public half of the key beside it ("" where there is none)."""

    x509: x509.Certificate
    public_key: str

    @property
    def owner(self) -> str:
        """Common name and organisation of its subject."""
        subject = self.x509.subject
        found = [subject.get_attributes_for_oid(oid) for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)]
        return ", ".join(str(attribute.value) for attributes in found for attribute in attributes)

    @property
    def names(self) -> list[str]:
        """The names and addresses that it is for."""
        try:
            extension = self.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return []
        return [str(name.value) for name in extension.value]

    @property
    def starts_later(self) -> bool:
        """Whether it is not valid yet."""
        return self.x509.not_valid_before_utc > datetime.now(UTC)

    @property
    def fits(self) -> bool:
        """Whether the key beside it is its own."""
        return bool(load_pem_public_key(self.public_key.encode()) == self.x509.public_key())

    def is_signed_by(self, authority: Certificate) -> bool:
        """Whether `authority` signed it."""
        try:
            self.x509.verify_directly_issued_by(authority.x509)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def collected(text: str) -> dict[str, Certificate]:
    """Certificates by the path of their file, from what `COLLECT` printed."""
    found = {}
    for path, section in parts(text).items():
        pem, mark, key = section.partition(_PUBLIC)
        found[path] = Certificate(x509.load_pem_x509_certificate(pem.encode()), mark + key)
    return found
