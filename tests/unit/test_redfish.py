"""The power switch by Redfish, against OpenStack's emulator of BMCs (sushy-tools)."""

from __future__ import annotations

import base64
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labctl import inventory, paths, process, state
from labctl.config import LabConfig
from labctl.config_hosts import Redfish
from labctl.errors import PrerequisiteError, ProviderError, UsageError
from labctl.process import Completed
from labctl.providers import hosts, redfish
from labctl.providers.redfish import RedfishSwitch

SOME = Redfish.model_validate({"url": "https://b", "user": "a", "password_file": "/b"})
PASSWORD = "correct horse: battery\tstaple"  # noqa: S105
SYSTEMS = {
    "one": "27946b59-9e44-4fa7-8e91-f3527a1ef094",
    "two": "27946b59-9e44-4fa7-8e91-f3527a1ef095",
}
# The fake machines take up to 11 s to follow, by the dice: here they follow at once.
EMULATOR = "import random; random.randint = lambda *_: 0; from sushy_tools.emulator.main import main; main()"
WITHIN_S = 30


@dataclass(frozen=True)
class Emulated:
    """A BMC with both machines, and what it takes to be let in."""

    url: str
    ca: Path
    password_file: Path

    def bmc(self, name: str = "one", **more: object) -> Redfish:
        said = {"url": self.url, "user": "admin", "password_file": str(self.password_file), "ca": str(self.ca)}
        return Redfish.model_validate({**said, "system": f"/redfish/v1/Systems/{SYSTEMS[name]}", **more})


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Of a BMC that vouches for itself, at 127.0.0.1; valid for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "bmc.crt", folder / "bmc.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return files


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    folder = tmp_path_factory.mktemp("bmc")
    certificate, key = own_certificate(folder)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "users").write_text(f"admin:{hashed}\n")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    systems = [{"uuid": uuid, "name": name, "power_state": "On", "nics": []} for name, uuid in SYSTEMS.items()]
    settings = {"SUSHY_EMULATOR_FAKE_SYSTEMS": systems, "SUSHY_EMULATOR_STATE_DIR": str(folder)}
    settings["SUSHY_EMULATOR_AUTH_FILE"] = str(folder / "users")
    (folder / "emulator.conf").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--fake", "--interface", "127.0.0.1", "--port", str(port), "--config", str(folder / "emulator.conf")]
    words += ["--ssl-certificate", str(certificate), "--ssl-key", str(key)]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-c", EMULATOR, *words], stdout=log, stderr=log)
        try:
            wait_for(port, child, folder / "log")
            yield Emulated(f"https://127.0.0.1:{port}", certificate, folder / "password")
        finally:
            child.terminate()
            child.wait()


def wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


def config(bmc: Redfish) -> LabConfig:
    """Both machines in one BMC, which is a strange thing to have; each host says which system is its own."""
    both = {
        name: {
            "address": f"192.0.2.1{number}",
            "role": "control-plane" if name == "one" else "worker",
            "power": {"redfish": {"system": f"/redfish/v1/Systems/{uuid}"}},
        }
        for number, (name, uuid) in enumerate(SYSTEMS.items())
    }
    power = {"redfish": bmc.model_copy(update={"system": None}).model_dump()}
    return LabConfig.model_validate({"provider": "hosts", "hosts": both, "power": power})


@pytest.fixture
def provider(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> hosts.HostsProvider:
    monkeypatch.setattr(process, "run", lambda argv, **_: Completed(tuple(map(str, argv)), 0, "0\n", ""))
    monkeypatch.setattr(process, "has", lambda _: True)
    monkeypatch.setattr(hosts, "_POLL_S", 0.02)
    return hosts.of(config(emulated.bmc()))


def test_a_machine_is_switched_off_and_on_and_the_other_is_not(provider: Any) -> None:  # noqa: ANN401 (has a switch)
    assert provider.preflight() == []
    assert provider.power("two") == "on"
    for _ in range(2):
        provider.power_off("two")
        assert [machine.power for machine in provider.machines()] == ["on", "off"]
    for _ in range(2):
        provider.power_on("two")
        assert [machine.power for machine in provider.machines()] == ["on", "on"]


def test_a_wrong_password_is_said_before_anything_is_made(
    emulated: Emulated, tmp_path: Path, provider: hosts.HostsProvider
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("guessed-it")
    wrong.chmod(0o600)
    problems = hosts.of(config(emulated.bmc(password_file=str(wrong)))).preflight()
    assert [problem.text for problem in problems] == [
        f"the BMC of {name} at {emulated.url} does not let admin in" for name in SYSTEMS
    ]
    assert "guessed-it" not in str(problems)


def test_whose_certificate_it_is(emulated: Emulated, tmp_path: Path) -> None:
    assert RedfishSwitch(emulated.bmc(), "one", "").state() == "on"
    with pytest.raises(ProviderError, match=r"(?i)certificate"):
        RedfishSwitch(emulated.bmc(ca=None), "one", "").state()
    assert RedfishSwitch(emulated.bmc(ca=None, verify=False), "one", "").state() == "on"
    other, _ = own_certificate(tmp_path)
    with pytest.raises(ProviderError, match=r"(?i)certificate"):
        RedfishSwitch(emulated.bmc(ca=str(other)), "one", "").state()


def test_of_several_systems_one_must_be_named(emulated: Emulated) -> None:
    with pytest.raises(ProviderError, match=f"the BMC of one at {emulated.url}: "):
        RedfishSwitch(emulated.bmc(system=None), "one", "").state()
    with pytest.raises(ProviderError, match="the BMC of one"):
        RedfishSwitch(emulated.bmc(system="/redfish/v1/Systems/none"), "one", "").state()


def test_nobody_there(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish, "_TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bmc = emulated.bmc(url="https://127.0.0.1:{address}")
    with pytest.raises(ProviderError, match=f"the BMC of one at https://127.0.0.1:{port}: .*refused"):
        RedfishSwitch(bmc, "one", str(port)).state()
    with pytest.raises(ProviderError, match="no/such/ca"):
        RedfishSwitch(emulated.bmc(ca="/no/such/ca"), "one", "").state()


def test_the_password_is_nowhere_but_on_its_way(
    emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in what libraries log, not in the record, not in the inventory; and nothing that labctl starts gets it."""
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    lab = config(emulated.bmc())
    assert RedfishSwitch(emulated.bmc(), "one", "").state() == "on"
    files = paths.LabPaths("lab")
    state.save(state.LabRecord(created=state.now(), config=lab, bundle="/b"))
    plan = hosts.of(lab).plan(lab)
    written = files.record.read_text() + inventory.for_lab(lab, plan, paths.bundles(), files)
    assert "redfish" in caplog.text.lower(), "there is a log to look at"
    for secret in (PASSWORD, base64.b64encode(f"admin:{PASSWORD}".encode()).decode()):
        assert secret not in caplog.text + written
    assert str(emulated.password_file) in written


@pytest.mark.parametrize(
    ("mode", "text", "said"), [(0o640, "x", "others may read"), (0o604, "x", "mode 0604"), (0o600, "\n", "is empty")]
)
def test_a_password_that_is_none_or_not_ones_own(mode: int, text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(UsageError, match=said):
        redfish.password(file)


def test_what_is_needed_is_an_extra_that_nobody_else_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from labctl.cli import up; from labctl.providers import choose; print('sushy' in sys.modules)"
    )
    assert process.run([sys.executable, "-c", program]).stdout == "False\n"
    monkeypatch.setitem(sys.modules, "sushy", None)
    with pytest.raises(PrerequisiteError) as caught:
        RedfishSwitch(SOME, "one", "").off()
    assert "labctl[redfish]" in caught.value.hint


@pytest.mark.parametrize(
    ("known", "verb", "asked"),
    [
        (["On", "ForceOn"], "on", "On"),
        (["ForceOn"], "on", "ForceOn"),
        (["ForceOff", "GracefulShutdown"], "off", "ForceOff"),
    ],
)
def test_what_a_bmc_is_asked_for(known: list[str], verb: str, asked: str) -> None:
    bmc = Bmc(known)
    getattr(switch_of(bmc), verb)()
    assert bmc.asked == [asked]


@pytest.mark.parametrize(
    ("seen", "power"), [("On", "on"), ("PoweringOff", "on"), ("PoweringOn", "on"), ("Paused", "on"), ("Off", "off")]
)
def test_only_off_is_off(seen: str, power: str) -> None:
    assert switch_of(Bmc([], seen)).state() == power


def test_a_bmc_that_cannot_or_says_nothing() -> None:
    with pytest.raises(ProviderError, match="knows no ForceOff, but GracefulShutdown"):
        switch_of(Bmc(["GracefulShutdown"])).off()
    with pytest.raises(ProviderError, match="says nothing of its power"):
        switch_of(Bmc([], None)).state()


class Bmc:
    """Stands for sushy's system, where the emulator knows everything."""

    def __init__(self, known: list[str], seen: str | None = "On") -> None:
        self.known, self.asked = known, list[str]()
        self.power_state = SimpleNamespace(value=seen) if seen else None

    def refresh(self, *, force: bool) -> None: ...

    def get_allowed_reset_system_values(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(value=word) for word in self.known]

    def reset_system(self, kind: SimpleNamespace) -> None:
        self.asked.append(kind.value)


def switch_of(bmc: Bmc) -> RedfishSwitch:
    found = RedfishSwitch(SOME, "one", "192.0.2.1")
    found.__dict__["_system"] = bmc
    return found
