"""A person's inventory becomes hosts; Ansible reads it for real."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labctl import inventory_file
from labctl.config import LabConfig
from labctl.errors import UsageError

TEXT = """
all:
  vars: {ansible_user: friend, ansible_become: true, ansible_ssh_common_args: -J me@bastion, my_own: {a: 1}}
  children:
    control_planes: {hosts: {one: {ansible_host: one.example, node_address: 192.0.2.11, ansible_port: 2222}}}
    workers: {children: {north: {hosts: {two: {ansible_host: 192.0.2.12, node_address: 192.0.2.12,
      node_pod_subnet: 10.244.7.0/24}}}}}
"""


def resolve(text: str, folder: Path) -> tuple[LabConfig, dict[str, dict[str, object]]]:
    file = folder / "hosts.yml"
    file.write_text(text)
    return inventory_file.resolve(LabConfig(provider="hosts", inventory=str(file)))


def test_an_inventory_names_the_hosts_and_how_they_are_reached(tmp_path: Path) -> None:
    config, variables = resolve(TEXT, tmp_path)
    assert (config.control_planes, config.workers) == (1, 1)
    one, two = config.hosts["one"], config.hosts["two"]
    assert (one.role, one.address, one.port, one.node_address) == (
        "control-plane",
        "one.example",
        2222,
        IPv4Address("192.0.2.11"),
    )
    assert (two.role, two.user, two.become, two.options) == ("worker", "friend", True, ("-J", "me@bastion"))
    assert two.pod_subnet == IPv4Network("10.244.7.0/24")
    assert variables["one"] == {"my_own": {"a": 1}}, "what labctl has no word for goes on to the playbooks"


def test_subnets_of_both_families_have_a_comma_between(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text(
        "control_planes: {hosts: {one: {ansible_host: 192.0.2.11, node_address: 192.0.2.11, "
        "node_second_address: 'fd00::11', node_pod_subnet: '10.244.7.0/24,fd00:10:244:7::/64'}}}"
    )
    asked = {"provider": "hosts", "inventory": str(file), "networks": {"family": "dual"}}
    config, more = inventory_file.resolve(LabConfig.model_validate(asked))
    one = config.hosts["one"]
    assert (str(one.node_second_address), str(one.second_pod_subnet)) == ("fd00::11", "fd00:10:244:7::/64")
    assert more == {"one": {}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("control_planes:", "masters:", "no machine is in the group control_planes"),
        ("hosts: {one:", "hosts: {two: {}, one:", "two is in both control_planes and workers"),
        ("node_address: 192.0.2.11, ", "", "one.example is a name: node_address must say"),
        ("ansible_port: 2222", "ansible_port: '{{ my_port }}'", "ansible_port of one is a template"),
        ("ansible_port: 2222", "ansible_connection: local", "one has the connection local"),
        ("node_address: 192.0.2.12", "node_address: 192.0.2.11", "have the same address"),
        ("all:", "all: [", "Ansible cannot read it|no machine is in the group"),
    ],
)
def test_what_labctl_cannot_use_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(TEXT.replace(old, new), tmp_path)


def test_an_inventory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        inventory_file.resolve(LabConfig(provider="hosts", inventory=str(tmp_path / "none")))


def test_a_folder_with_variables_of_groups(tmp_path: Path) -> None:
    (tmp_path / "mine" / "group_vars").mkdir(parents=True)
    (tmp_path / "mine" / "hosts.yml").write_text(TEXT.replace("ansible_user: friend, ", ""))
    (tmp_path / "mine" / "group_vars" / "all.yml").write_text("ansible_user: another\n")
    config, _ = inventory_file.resolve(LabConfig(provider="hosts", inventory=str(tmp_path / "mine")))
    assert config.hosts["one"].user == "another"
