import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labctl import clock, paths, state
from labctl.bundle import Bundle
from labctl.config import LabConfig
from labctl.providers.base import Problem

MADE = datetime(2026, 5, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


def certificate(end: datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, MADE, end).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> paths.LabPaths:
    """A lab that was made at MADE, with a CA for ten years and a client for one."""
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    found = paths.LabPaths("lab")
    authority = {"cluster": {"certificate-authority-data": certificate(MADE + 10 * YEAR)}}
    user = {"user": {"client-certificate-data": certificate(MADE + YEAR)}}
    state.write_file(found.kubeconfig, yaml.safe_dump({"clusters": [authority], "users": [user]}))
    return found


def check(lab: paths.LabPaths, now: datetime, *, made: bool = False, bundle: Bundle | None = None) -> list[Problem]:
    record = state.LabRecord(created=MADE.isoformat(), config=LabConfig(), bundle="/b") if made else None
    return clock.check(lab, record, bundle, now)


def test_a_clock_within_the_certificates_time_is_fine(lab: paths.LabPaths) -> None:
    assert check(lab, MADE + timedelta(minutes=1), made=True) == []
    assert check(lab, MADE + YEAR - timedelta(minutes=1), made=True) == []


def test_a_clock_before_the_lab_was_made_is_wrong(lab: paths.LabPaths) -> None:
    (problem,) = check(lab, datetime(1970, 1, 1, 1, tzinfo=UTC), made=True)
    assert "the clock says 1970-01-01" in problem.text
    assert "set the clock" in problem.hint


def test_a_clock_before_a_certificate_begins_is_wrong(lab: paths.LabPaths) -> None:
    (problem,) = check(lab, MADE - timedelta(hours=1))
    assert "valid from 2026-05-01 12:00 UTC" in problem.text
    assert "set the clock" in problem.hint


def test_certificates_that_have_ended_say_how_the_lab_is_made_anew(lab: paths.LabPaths) -> None:
    (problem,) = check(lab, MADE + YEAR + timedelta(minutes=1), made=True)
    assert "to 2027-05-01" in problem.text
    assert "labctl down, then labctl up" in problem.hint


def test_a_clock_before_the_bundle_was_made_is_wrong_without_a_lab_too(lab: paths.LabPaths, tmp_path: Path) -> None:
    lab.kubeconfig.unlink()
    os.utime(tmp_path, (MADE.timestamp(), MADE.timestamp()))
    bundle = Bundle.__new__(Bundle)
    object.__setattr__(bundle, "path", tmp_path)
    assert check(lab, MADE, bundle=bundle) == []
    (problem,) = check(lab, MADE - YEAR, bundle=bundle)
    assert "labctl wrote files here on 2026-05-01" in problem.text


@pytest.mark.parametrize("text", ["", "a: [", "[]", "clusters: []", "clusters: [{cluster: {}}]", "\x00"])
def test_a_kubeconfig_that_cannot_be_read_is_not_the_clocks_business(lab: paths.LabPaths, text: str) -> None:
    lab.kubeconfig.write_text(text)
    assert check(lab, MADE, made=True) == []
