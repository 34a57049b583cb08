"""The script kubeadm-once with a kubeadm that only notes what it was asked."""

from __future__ import annotations

import base64
import fcntl
import http.client
import importlib.machinery
import importlib.util
import json
import os
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "roles" / "kube_packages" / "files" / "kubeadm-once"
PAIR = {"crt": "made with -out", "key": "made with -keyout"}
CONFIG = "kind: InitConfiguration\nlocalAPIEndpoint: {}\n---\nkind: ClusterConfiguration\n"
ANSWER = "abcdef.0123456789abcdef"
INVITATION = json.dumps({"config": "join", "discovery": {}, "kubelet": PAIR})


class Machine:
    """One machine's files below `root`, and the calls of kubeadm."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        loader = importlib.machinery.SourceFileLoader("kubeadm_once", str(SCRIPT))
        spec = importlib.util.spec_from_loader("kubeadm_once", loader)
        assert spec
        self.script = cast("Any", importlib.util.module_from_spec(spec))
        loader.exec_module(self.script)
        self.root = root
        self.calls: list[str] = []
        self.lines: list[str] = []
        self.configs: list[str] = []
        self.modes: dict[str, int] = {}
        self.script.WORK = root / "work"
        self.script.WORK.mkdir(mode=0o700)
        self.script.TOKEN = self.script.WORK / "token"
        self.script.INVITATION = self.script.WORK / "invitation"
        self.script.DONE = root / "done"
        self.script.CA = root / "ca.crt"
        self.script.ENCRYPTION = root / "kubernetes" / "encryption.yml"
        self.script.ETCD = root / "etcd"
        self.script.KUBELET_PKI = root / "kubelet" / "pki"
        self.script.LOCK = root / "lock"
        self.owners: dict[str, str] = {}
        self.patience: object = None
        self.real_kubeadm = self.script.kubeadm
        monkeypatch.setattr(self.script.shutil, "chown", self.chown)
        self.script.LEFT_BY_A_RUN = (str(root / "left"),)
        monkeypatch.setattr(self.script, "kubeadm", self.kubeadm)
        monkeypatch.setattr(self.script, "output", self.output)
        (root / "kubeadm.yml").write_text(CONFIG)
        self.config = str(root / "kubeadm.yml")

    def kubeadm(self, *words: str, patience: object = None) -> None:
        self.patience = patience
        self.calls.append(" ".join(words[:4]))
        if words[:3] == ("init", "phase", "certs"):
            self.script.CA.write_text("a CA")
        if words[0] == "reset":
            for path in (self.root / "left", self.script.CA):
                path.unlink(missing_ok=True)
        if words[0] == "join":
            here = [self.script.WORK, *(path for path in self.script.WORK.iterdir() if path.name != "invitation")]
            self.modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in here}
        if "--config" in words:
            path = Path(words[words.index("--config") + 1])
            self.configs.append(path.read_text())

    def chown(self, path: Path, user: str, group: str) -> None:
        self.owners[path.name] = f"{user}:{group}"

    def output(self, *words: str) -> str:
        self.calls.append(" ".join(words[:3]))
        self.lines.append(" ".join(words))
        for option in ("-keyout", "-out"):
            if option in words:
                Path(words[words.index(option) + 1]).write_text(f"made with {option}")
        return f"{ANSWER}\n"

    def finish(self) -> None:
        """As a run that came to its end leaves the machine."""
        self.script.DONE.touch()
        (self.root / "left").touch()

    def run(self, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.argv", ["kubeadm-once", *words])
        self.script.main()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def invite(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    capsys.readouterr()
    machine.run("invite", machine.config, "w-1=10.0.0.3", monkeypatch=monkeypatch)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_an_invitation_before_the_cluster_is_the_one_that_init_brings(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = invite(machine, capsys, monkeypatch)
    assert first == {"token": "abcdef.0123456789abcdef", "ca": "a CA", "kubelets": {"w-1": PAIR}}
    assert invite(machine, capsys, monkeypatch) == first
    sign = "openssl req -x509"
    assert machine.calls == ["init phase certs ca", "kubeadm token generate", sign, sign]
    assert stat.S_IMODE(machine.script.TOKEN.stat().st_mode) == 0o600
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    assert "bootstrapTokens:\n- token: abcdef.0123456789abcdef\n" in machine.configs[-1]
    assert machine.configs[-1].count("kind: InitConfiguration") == 1
    assert machine.script.DONE.exists()
    assert list(machine.script.WORK.iterdir()) == [], "no secret stays"


def test_a_second_run_is_unchanged(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.finish()
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == "unchanged\n"
    assert machine.calls == []


def test_a_machine_that_somebody_has_reset_is_made_a_node_again(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kubeadm reset` takes away all but the mark."""
    machine.finish()
    (machine.root / "left").unlink()
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    assert "unchanged" not in capsys.readouterr().out
    assert any(call.startswith("init") for call in machine.calls)


def test_a_join_that_ended_meanwhile_has_the_kubelet_register_its_node_again(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.finish()
    machine.script.INVITATION.write_text("secret")
    machine.run("join", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == "unchanged\n"
    assert machine.calls == ["systemctl restart kubelet"]
    assert not machine.script.INVITATION.exists()


def test_a_run_that_was_cut_off_is_reset_before_anything_is_promised(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    invite(machine, capsys, monkeypatch)
    (machine.root / "left").touch()
    machine.script.CA.write_text("the CA of the run that was cut off")
    machine.calls.clear()
    assert invite(machine, capsys, monkeypatch)["ca"] == "a CA"
    assert machine.calls[0].startswith("reset")


def test_an_invitation_to_a_cluster_that_is_there(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.finish()
    machine.script.CA.write_text("the CA")
    assert invite(machine, capsys, monkeypatch)["ca"] == "the CA"
    assert machine.calls == [
        "kubectl --kubeconfig /etc/kubernetes/admin.conf",
        "kubeadm token create",
        "openssl req -x509",
    ]


def test_a_cluster_has_a_key_of_its_own_for_secrets(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    text = machine.script.ENCRYPTION.read_text()
    assert stat.S_IMODE(machine.script.ENCRYPTION.stat().st_mode) == 0o600
    provider, last = yaml.safe_load(text)["resources"][0]["providers"]
    assert len(base64.b64decode(provider["secretbox"]["keys"][0]["secret"])) == 32
    assert last == {"identity": {}}
    assert machine.owners == {"etcd": "etcd:etcd"}
    machine.script.DONE.unlink()
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    assert machine.script.ENCRYPTION.read_text() == text, "a second try keeps it: etcd may hold Secrets by now"
    assert machine.script.new_encryption() != text


def test_another_control_plane_joins_with_the_key_of_secrets(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.script, "wait_for_cluster", lambda: None)
    machine.script.INVITATION.write_text(json.dumps({**json.loads(INVITATION), "encryption": "how"}))
    machine.run("join", monkeypatch=monkeypatch)
    assert machine.script.ENCRYPTION.read_text() == "how"
    assert stat.S_IMODE(machine.script.ENCRYPTION.stat().st_mode) == 0o600
    assert machine.owners == {"etcd": "etcd:etcd"}


def test_a_kubelets_certificate_is_of_the_clusters_authority_and_for_its_address(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def openssl(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    ca, crt = machine.script.CA, machine.root / "kubelet.crt"
    openssl(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
        *("-keyout", str(ca.with_suffix(".key")), "-out", str(ca), "-subj", "/CN=kubernetes"),
    )
    monkeypatch.setattr(machine.script, "output", openssl)
    crt.write_text(machine.script.serving("w-1", ["10.0.0.3", "fd00::3"])["crt"])
    verify = ("openssl", "verify", "-CAfile", str(ca), "-purpose", "sslserver")
    assert "OK" in openssl(*verify, "-verify_ip", "10.0.0.3", str(crt))
    assert "OK" in openssl(*verify, "-verify_ip", "fd00::3", str(crt))
    assert "OK" in openssl(*verify, "-verify_hostname", "w-1", str(crt))
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-verify_ip", "10.0.0.4", str(crt))
    assert list(machine.script.WORK.iterdir()) == [], "no key stays"


def test_an_invitation_of_a_control_plane_brings_the_key_of_the_certificates(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.finish()
    machine.script.CA.write_text("the CA")
    machine.script.become_control_plane("how")
    nodes = ("cp-2=10.0.0.3", "cp-3=10.0.0.4")
    machine.run("invite", "--control-plane", machine.config, *nodes, monkeypatch=monkeypatch)
    kubelets = {"cp-2": PAIR, "cp-3": PAIR}
    wanted = {"token": ANSWER, "ca": "the CA", "kubelets": kubelets, "encryption": "how", "key": ANSWER}
    assert json.loads(capsys.readouterr().out) == wanted
    deleted = [line for line in machine.lines if "delete node" in line]
    assert [line.split()[5] for line in deleted] == ["cp-2", "cp-3"]
    assert machine.calls[-1].startswith("init phase upload-certs")
    assert f"certificateKey: {ANSWER}\n" in machine.configs[-1]
    assert list(machine.script.WORK.iterdir()) == [], "no secret stays"


def test_all_is_done_under_the_lock_and_for_root_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed on the controller may still be at work here."""
    monkeypatch.setattr(
        machine.script.fcntl, "flock", lambda _file, how: machine.calls.append(f"lock {how == fcntl.LOCK_EX}")
    )
    monkeypatch.setattr(machine.script, "wait_for_cluster", lambda: None)
    machine.script.WORK.chmod(0o755)
    machine.script.INVITATION.write_text(INVITATION)
    before = os.umask(0o022)
    try:
        machine.run("join", monkeypatch=monkeypatch)
    finally:
        os.umask(before)
    assert machine.calls[0] == "lock True"
    assert machine.calls[1].startswith("join --config")
    assert machine.modes == {"work": 0o700, "discovery.conf": 0o600, "join.yml": 0o600}


def test_what_a_cut_run_left_is_reset_before_init_and_join(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.script, "wait_for_cluster", lambda: None)
    machine.script.INVITATION.write_text(INVITATION)
    for words in (["init", machine.config, "cp-1=10.0.0.2"], ["join"]):
        (machine.root / "left").touch()
        machine.script.DONE.unlink(missing_ok=True)
        machine.calls.clear()
        machine.run(*words, monkeypatch=monkeypatch)
        assert [machine.calls[0].split()[0], machine.calls[-1].split()[0]] == ["reset", words[0]]


def test_a_join_that_fails_leaves_no_secret_and_is_not_done(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str, **_more: object) -> None:
        raise SystemExit("kubeadm join failed")

    monkeypatch.setattr(machine.script, "wait_for_cluster", lambda: None)
    monkeypatch.setattr(machine.script, "kubeadm", fail)
    machine.script.INVITATION.write_text(INVITATION)
    with pytest.raises(SystemExit, match="join failed"):
        machine.run("join", monkeypatch=monkeypatch)
    assert list(machine.script.WORK.iterdir()) == []
    assert not machine.script.DONE.exists()


def test_a_run_that_was_left_behind_takes_no_invitation_with_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.script, "wait_for_cluster", lambda: None)
    machine.script.INVITATION.write_text(INVITATION)
    # It held the lock, and failed in the meantime.
    monkeypatch.setattr(machine.script.fcntl, "flock", lambda *_: machine.script.INVITATION.unlink())
    machine.run("join", monkeypatch=monkeypatch)
    assert machine.configs == ["join"]
    assert list(machine.script.WORK.iterdir()) == [], "no secret stays"


def test_nobody_waits_for_a_cluster_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(_: float) -> None:
        now[0] += 100
        assert now[0] < 1000, "it waits for ever"

    monkeypatch.setattr(machine.script.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine.script.time, "sleep", sleep)
    with pytest.raises(SystemExit, match=r"no nodes within 300 s \(last: .*invitation"):
        machine.run("join", monkeypatch=monkeypatch)


@pytest.mark.parametrize(("slow", "calls"), [([], 1), (["--slow"], 3)])
def test_a_preflight_that_refused_for_want_of_time_is_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, slow: list[str], calls: int
) -> None:
    machine.run("init", *slow, machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    refusal = "error: error execution phase preflight: preflight checks failed\n"
    words, seen = iter([refusal, refusal, "error: error execution phase wait-control-plane\n"]), []

    def refuse(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(argv)
        return subprocess.CompletedProcess(argv, 1, None, next(words))

    monkeypatch.setattr(machine.script.subprocess, "run", refuse)
    monkeypatch.setattr(machine.script.time, "sleep", lambda _: None)
    with pytest.raises(SystemExit, match="kubeadm init failed"):
        machine.real_kubeadm("init", patience=machine.patience)
    assert len(seen) == calls, "what fails later than the preflight is not tried again"


def test_of_a_slow_cluster_more_is_waited_for_and_less_is_asked(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, pauses = [0.0], set()

    def sleep(seconds: float) -> None:
        pauses.add(seconds)
        now[0] += 100

    monkeypatch.setattr(machine.script.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine.script.time, "sleep", sleep)
    monkeypatch.setattr(machine.script, "connection", lambda *_: http.client.HTTPConnection("127.0.0.1:1"))
    cluster: dict[str, Any] = {"clusters": [{"cluster": {}}]}
    machine.script.INVITATION.write_text(json.dumps({"discovery": cluster, "is_slow": True}))
    with pytest.raises(SystemExit, match="no nodes within 1800 s"):
        machine.run("join", monkeypatch=monkeypatch)
    assert pauses == {10}


class Cluster(BaseHTTPRequestHandler):
    """Refuses twice, as an API server that does not know its roles yet."""

    seen = 0

    def do_GET(self) -> None:
        Cluster.seen += 1
        self.send_response(403 if Cluster.seen < 3 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_join_waits_for_the_newest_invitations_cluster(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Cluster)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(machine.script, "connection", lambda cluster, _: http.client.HTTPConnection(cluster["server"]))

    def invitation(address: str) -> str:
        discovery = {"clusters": [{"cluster": {"server": address}}]}
        return json.dumps({"config": f"join {address}", "discovery": discovery, "kubelet": PAIR})

    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:  # the run that brought the first one was killed, the next one brings another
            machine.script.INVITATION.write_text(invitation(f"127.0.0.1:{server.server_port}"))

    monkeypatch.setattr(machine.script.time, "sleep", sleep)
    machine.script.INVITATION.write_text(invitation("127.0.0.1:1"))
    machine.run("join", monkeypatch=monkeypatch)
    server.shutdown()
    assert machine.configs == [f"join 127.0.0.1:{server.server_port}"]
    assert len(slept) == 3
    assert machine.script.DONE.exists()
    assert list(machine.script.WORK.iterdir()) == [], "no secret stays"
    kept = {
        path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in machine.script.KUBELET_PKI.iterdir()
    }
    assert kept == {"kubelet.crt": (PAIR["crt"], 0o600), "kubelet.key": (PAIR["key"], 0o600)}
    assert not machine.script.ENCRYPTION.exists(), "a worker has no use for it"


def test_kubeadm_knows_of_no_proxy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask the proxy for the machines, and write it into the manifests of the control plane."""
    for name in ("HTTPS_PROXY", "http_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    seen: list[str] = []
    monkeypatch.setattr(machine.script, "kubeadm", lambda *_, **__: seen.extend(os.environ))
    machine.run("init", machine.config, "cp-1=10.0.0.2", monkeypatch=monkeypatch)
    assert seen
    assert not [name for name in seen if name.lower().endswith("_proxy")]
