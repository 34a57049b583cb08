"""Items of the CIS Kubernetes Benchmark against a machine that only answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from labctl.verify import Expect, cis
from labctl.verify.programs import Programs
from tests.nodes import test_cis_api_server, test_cis_control_plane

APISERVER = Path(__file__).parents[3] / "roles" / "kube_packages" / "files" / "apiserver"
PROCESSES = """\
10 kube-apiserver --profiling=false --audit-log-path=/var/log/audit.log --encryption-provider-config=e.yml --bare
11 /usr/local/bin/kubelet --config=/kubelet.yml --kubeconfig=/kubelet.conf --read-only-port=10255
12 etcd --data-dir=/data
13 /usr/local/bin/kube-proxy --config=/proxy.yml
"""
KUBELET = "authentication: {x509: {clientCAFile: /ca.crt}}\nreadOnlyPort: 0\nseccompDefault: true\n"
ENCRYPTION = (
    "resources: [{resources: [secrets], providers: [{secretbox: {keys: [{secret: hidden}]}}, {identity: {}}]}]\n"
)
FILES = """\
700 root:root directory:/etc/kubernetes/pki
644 root:root regular file:/etc/kubernetes/pki/ca.crt
640 root:nobody regular file:/etc/kubernetes/pki/ca.key
600 root:root regular file:/a file
"""


@dataclass
class Answer:
    stdout: str
    rc: int = 0
    stderr: str = ""


class Host:
    def __init__(self) -> None:
        self.texts = {"/kubelet.yml": KUBELET, "/e.yml": ENCRYPTION}
        self.texts["/proc/13/root/proxy.yml"] = "clientConnection: {kubeconfig: /proxy.conf}"
        self.asked: list[str] = []

    def run(self, command: str, *words: str) -> Answer:
        self.asked.append(" ".join([command, *words]))
        program = command.split(maxsplit=1)[0]
        if program == "cat":
            text = self.texts.get(words[0])
            return Answer("", 1, f"cat: {words[0]}: no such file") if text is None else Answer(text)
        return Answer({"pgrep": PROCESSES, "systemctl": "/kubelet.service\n/more.conf\n", "find": FILES}[program])


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def programs(host: Host) -> Programs:
    return Programs(cast("Any", host).run)


def look(programs: Programs, what: cis.Look) -> tuple[list[str], bool]:
    expect = Expect()
    what.see(programs, expect)
    return expect.seen, not expect.wrong


def test_arguments_are_those_of_the_process(programs: Programs) -> None:
    assert programs.flags("kube-apiserver")["profiling"] == "false"
    assert programs.flags("kube-apiserver")["bare"] == "true"
    assert programs.flags("kubelet")["config"] == "/kubelet.yml"
    assert not programs.runs("kube-scheduler")
    with pytest.raises(pytest.skip.Exception, match="kube-scheduler does not run"):
        programs.flags("kube-scheduler")


def test_a_flag_that_is_not_there_is_said_to_be_not_there(programs: Programs) -> None:
    assert look(programs, cis.flag("kube-apiserver", "profiling", "false", lambda value: value == "false")) == (
        ["--profiling: false"],
        True,
    )
    assert look(programs, cis.flag("kube-apiserver", "lost", "set", bool)) == (["--lost: not set"], False)


def test_a_file_is_given_by_its_whole_path(programs: Programs) -> None:
    assert look(programs, cis.given("kube-apiserver", "audit-log-path"))[1]
    assert not look(programs, cis.given("kube-apiserver", "encryption-provider-config"))[1]
    assert not look(programs, cis.given("kube-apiserver", "audit-log-path", "lost"))[1]


def test_an_argument_of_the_kubelet_overrides_its_configuration(programs: Programs) -> None:
    def closed(value: object) -> bool:
        return value in (0, "0")

    assert look(programs, cis.kubelet("readOnlyPort", "0", closed))[1]
    assert look(programs, cis.kubelet("readOnlyPort", "0", closed, "read-only-port")) == (
        ["readOnlyPort: 10255"],
        False,
    )
    assert look(programs, cis.kubelet("featureGates.Lost", "set", bool)) == (["featureGates.Lost: not set"], False)


def test_a_configuration_that_names_no_authority_is_no_error(programs: Programs, host: Host) -> None:
    host.texts["/kubelet.yml"] = "authentication: {x509: }"
    assert programs.client_ca == ""
    assert not look(programs, cis.owner(lambda programs: [programs.client_ca], "root:root"))[1]


PKI = "/etc/kubernetes/pki"


@pytest.mark.parametrize(
    ("what", "is_right", "seen"),
    [
        (cis.mode(cis.below(PKI, suffix=".crt"), 0o644), True, "/etc/kubernetes/pki/ca.crt: 644"),
        (cis.mode(cis.below(PKI, suffix=".crt"), 0o600), False, "/etc/kubernetes/pki/ca.crt: 644"),
        (cis.mode(cis.below(PKI), 0o644), True, "2 files: 640, 644"),
        (cis.mode(cis.below(PKI), 0o640), False, "2 files: /etc/kubernetes/pki/ca.crt=644"),
        (cis.owner(cis.below(PKI, with_folders=True), "root:root"), False, f"3 files: {PKI}/ca.key=root:nobody"),
        (cis.mode(cis.below("/etc/kubernetes/pk"), 0o777), False, "0 files: no file"),
        (cis.mode(cis.these("/a file"), 0o600), True, "/a file: 600"),
        (cis.mode(cis.these("/lost"), 0o777), False, "/lost: missing"),
    ],
)
def test_modes_and_owners(programs: Programs, what: cis.Look, *, is_right: bool, seen: str) -> None:
    assert look(programs, what) == ([seen], is_right)


def test_each_thing_is_asked_for_once(programs: Programs, host: Host) -> None:
    for _ in range(2):
        assert programs.files
        assert programs.kubelet
    assert len(host.asked) == len(set(host.asked))
    asked = next(command for command in host.asked if command.startswith("find"))
    for path in ("/kubelet.yml", "/kubelet.conf", "/ca.crt", "/kubelet.service /more.conf", "/data"):
        assert path in asked
    assert "/proc/13/root/proxy.conf" in asked


def test_of_the_encryption_only_the_provider_is_kept(programs: Programs) -> None:
    assert programs.encryption == [(["secrets"], "secretbox")]
    assert look(programs, cis.Look(test_cis_api_server.see_providers, ""))[1]


def test_a_file_that_cannot_be_read_is_an_error_of_the_check(programs: Programs) -> None:
    with pytest.raises(AssertionError, match="no such file"):
        programs.document("/lost")


def test_the_audit_policy_of_the_role_is_one_that_passes(programs: Programs, host: Host) -> None:
    policy = yaml.safe_load((APISERVER / "audit.yml").read_text())
    programs.audit_policy = policy
    assert look(programs, cis.Look(test_cis_control_plane.see_policy, ""))[1]
    for rule in policy["rules"]:
        rule["level"] = "Request"
    assert not look(programs, cis.Look(test_cis_control_plane.see_policy, ""))[1]
    programs.audit_policy = {}
    assert not look(programs, cis.Look(test_cis_control_plane.see_policy, ""))[1]


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5m0s", 300), ("1h2m3s", 3723), ("0", 0)])
def test_durations(text: str, seconds: int) -> None:
    assert test_cis_api_server.seconds(text) == seconds
