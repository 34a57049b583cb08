"""labctl.yml of machines that are there already."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labctl import config, state
from labctl.config import LabConfig
from labctl.config_hosts import Redfish, Ssh
from labctl.errors import UsageError
from labctl.providers import hosts

HOSTS = """
provider: hosts
ssh: {user: friend, key: ./id, become: true}
hosts:
  two: {address: 192.0.2.12}
  one: {role: control-plane, address: one.example, node_address: 192.0.2.11, port: 2222, user: root}
"""

DUAL = """
provider: hosts
networks: {family: dual}
hosts:
  one: {role: control-plane, address: 192.0.2.11, node_second_address: 'fd00::11'}
  two: {address: 192.0.2.12, node_second_address: 'fd00::12'}
"""


def load(text: str, folder: Path) -> LabConfig:
    (folder / "labctl.yml").write_text(text)
    return config.load(folder / "labctl.yml", {})


def test_hosts_are_counted_and_named_control_planes_first(tmp_path: Path) -> None:
    lab = load(HOSTS, tmp_path)
    assert (lab.control_planes, lab.workers) == (1, 1)
    assert lab.machine_names == lab.node_names == ["one", "two"], "a host has one name"
    assert lab.hosts["two"].node_address == IPv4Address("192.0.2.12")


def test_a_host_goes_before_what_is_said_of_all(tmp_path: Path) -> None:
    lab = load(HOSTS, tmp_path)
    key = str(tmp_path / "id")
    assert lab.hosts["one"].over(lab.ssh) == Ssh(user="root", port=2222, key=key, become=True)
    assert lab.hosts["two"].over(lab.ssh) == Ssh(user="friend", key=key, become=True)


def test_nothing_is_consented_to_by_default(tmp_path: Path) -> None:
    consent = load(HOSTS, tmp_path).consent
    assert not consent.drills
    assert not consent.reset


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provider: hosts", "wants the machines by hosts: or inventory:"),
        ("hosts: {one: {address: 192.0.2.1}}", "hosts: needs provider: hosts"),
        ("consent: {drills: true}", "consent: needs provider: hosts"),
        (HOSTS + "inventory: ./mine", "both say which machines there are"),
        (HOSTS + "workers: 3", "workers: hosts are counted, not asked for"),
        (HOSTS.replace("control-plane", "worker"), "control_planes: "),
        (HOSTS.replace("192.0.2.12", "192.0.2.11"), "have the same address 192.0.2.11"),
        (HOSTS.replace(", node_address: 192.0.2.11", ""), "one.example is a name: node_address must say"),
        (HOSTS.replace("192.0.2.12", "10.244.3.4"), "the address 10.244.3.4 of a host is in 10.244.0.0/16"),
        (HOSTS.replace("12}", "12, pod_subnet: 10.9.1.0/24}"), "must be a /24 of 10.244.0.0/16"),
        (HOSTS.replace("12}", "12, node_second_address: 'fd00::2'}"), "has a node_second_address: that goes with"),
        (HOSTS + "networks: {family: ipv6}", "node_address 192.0.2.12 is not of IPv6, as networks.family asks"),
        (DUAL.replace("::12'", "::11'"), "one and two have the same address fd00::11"),
        (DUAL.replace("fd00::12", "fd00:10:96::12"), "the address fd00:10:96::12 of a host is in fd00:10:96::/112"),
        (DUAL.replace("12'}", "12', second_pod_subnet: 'fd00:9::/64'}"), "must be a /64 of fd00:10:244::/56"),
        (HOSTS.replace("two:", "Two_:"), "hosts.Two_"),
        (HOSTS + "node: {cpus: 1}", "are of machines that labctl makes"),
        (HOSTS + "nodes: {worker-1: {labels: {a: b}}}", "nodes.worker-1: the lab has no such machine; it has one, two"),
        (HOSTS + "networks: {machines: 192.0.2.0/24}", "hosts have their network already"),
        (HOSTS + "power: {off: [x], on: [x]}", "power: wants off, on and status, or redfish"),
        (HOSTS + "power: {redfish: {url: 'https://u:s3cret@b'}}", "power.redfish.url: holds no user and no password"),
        (HOSTS + "power: {redfish: {url: 'http://b'}}", "power.redfish.url: must begin with https://"),
        (HOSTS + "power: {redfish: {url: 'https://{host}'}}", "only {name} and {address}"),
        (HOSTS + "power: {redfish: {url: 'https://b', password: s3cret}}", "power.redfish.password: no such key"),
        (HOSTS + "power: {redfish: {url: 'https://b'}}", "user, password_file of the BMC of"),
        (HOSTS + "power: {redfish: {url: 'https://b'}, off: [x]}", "keep one of them"),
        (HOSTS.replace("12}", "12, power: {off: [x], on: [x], status: [x]}}"), "power: one has no switch, and others"),
        (HOSTS + "power: {off: [x, '{host}'], on: [x], status: [x]}", "only {name} and {address}"),
        (HOSTS + "power: {off: [], on: [x], status: [x]}", "wants a command as a list of words"),
        (HOSTS + "leave_alone: [swapp]", "leave_alone"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(text, tmp_path)
    assert said in caught.value.message
    assert "s3cret" not in caught.value.message


BMCS = """
power: {redfish: {url: "https://{name}-bmc.example", user: admin, password_file: ./bmc}}
"""


def test_a_host_says_of_its_bmc_what_is_not_that_of_all(tmp_path: Path) -> None:
    own = "12, power: {redfish: {url: 'https://192.0.2.112', ca: ./ca.pem, system: /redfish/v1/Systems/2}}}"
    lab = load(HOSTS.replace("12}", own) + BMCS, tmp_path)
    two, one = (lab.switch_of(name) for name in ("two", "one"))
    assert one == lab.power
    assert two
    assert two.redfish == Redfish(
        url="https://192.0.2.112",
        user="admin",
        password_file=str(tmp_path / "bmc"),
        ca=str(tmp_path / "ca.pem"),
        system="/redfish/v1/Systems/2",
    )
    missing = [line for line in config.missing_files(lab) if "redfish" in line]
    assert missing == [f"power.redfish: there is no file {tmp_path / name}" for name in ("bmc", "ca.pem")]


def test_a_host_may_have_commands_where_others_have_a_bmc(tmp_path: Path) -> None:
    lab = load(HOSTS.replace("12}", "12, power: {off: [x], on: [x], status: [x]}}") + BMCS, tmp_path)
    two = lab.switch_of("two")
    assert two
    assert two.off == ("x",)
    assert not two.redfish


def test_a_file_that_ssh_needs_and_that_is_not_there_is_named(tmp_path: Path) -> None:
    lab = load(HOSTS, tmp_path)
    assert config.missing_files(lab) == [f"ssh: there is no file {tmp_path / 'id'}"]


def test_pod_subnets_stay_when_a_host_is_put_between(tmp_path: Path) -> None:
    lab = load(HOSTS, tmp_path)
    first = hosts.settled(lab, {})
    assert [host.pod_subnet for host in first.values()] == [IPv4Network(f"10.244.{n}.0/24") for n in (0, 1)]
    more = load(HOSTS.replace("  two:", "  new: {address: 192.0.2.13}\n  two:"), tmp_path)
    second = hosts.settled(more, first)
    assert {name: second[name] for name in first} == first
    assert second["new"].pod_subnet == IPv4Network("10.244.2.0/24")


def test_with_both_families_a_host_has_a_subnet_of_each(tmp_path: Path) -> None:
    lab = load(DUAL.replace("12'}", "12', second_pod_subnet: 'fd00:10:244::/64'}"), tmp_path)
    one, two = hosts.of(lab).plan(lab)
    assert (str(one.pod_subnet), str(one.second_pod_subnet)) == ("10.244.0.0/24", "fd00:10:244:1::/64")
    assert (str(two.pod_subnet), str(two.second_pod_subnet)) == ("10.244.1.0/24", "fd00:10:244::/64")
    assert (str(two.address), str(two.second_address)) == ("192.0.2.12", "fd00::12")


def test_hosts_may_have_ipv6_alone(tmp_path: Path) -> None:
    text = "provider: hosts\nnetworks: {family: ipv6}\nhosts: {one: {role: control-plane, address: 'fd00::11'}}"
    lab = load(text, tmp_path)
    (one,) = hosts.of(lab).plan(lab)
    assert (str(one.address), one.second_address, str(one.pod_subnet)) == ("fd00::11", None, "fd00:10:244::/64")


def test_of_a_lab_that_exists_hosts_may_be_added_but_not_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    before = load(HOSTS, tmp_path)
    record = state.LabRecord(created=state.now(), config=before, bundle="/b")
    state.refuse_other_lab(record, load(HOSTS.replace("  two:", "  new: {address: 192.0.2.13}\n  two:"), tmp_path))
    state.refuse_other_lab(record, load(HOSTS.replace("one.example", "1.example") + "consent: {reset: true}", tmp_path))
    for text, said in (
        (HOSTS.replace("192.0.2.12", "192.0.2.99"), "node_address of two is 192.0.2.12, asked for 192.0.2.99"),
        (HOSTS.replace("two:", "three:"), "host two is 192.0.2.12, asked for none"),
    ):
        with pytest.raises(UsageError, match=said):
            state.refuse_other_lab(record, load(text, tmp_path))


def test_the_record_of_a_lab_brings_its_hosts_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    lab = load(HOSTS, tmp_path)
    state.save(state.LabRecord(created=state.now(), config=lab, bundle="/b"))
    (tmp_path / "labctl.yml").unlink()
    again = config.load(None, state.get("lab").config.model_dump(mode="json"))
    assert again == lab
