from ipaddress import IPv4Network

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from labctl import inventory, paths, topology
from labctl.config import LabConfig

NETWORK = IPv4Network("10.203.7.0/24")
labs = st.builds(LabConfig, control_planes=st.sampled_from([1, 3, 5, 7]), workers=st.integers(0, 50))


@given(labs)
def test_names_addresses_and_pod_subnets_are_all_different(config: LabConfig) -> None:
    machines = topology.plan(config, NETWORK)
    assert len(machines) == config.control_planes + config.workers
    for kind in ("name", "address", "pod_subnet"):
        assert len({getattr(machine, kind) for machine in machines}) == len(machines)
    assert all(machine.address in NETWORK for machine in machines)
    assert all(str(machine.pod_subnet).startswith("10.244.") for machine in machines)


@given(labs)
def test_a_further_worker_changes_nothing_of_the_others(config: LabConfig) -> None:
    if config.workers == 50:
        return
    larger = config.model_copy(update={"workers": config.workers + 1})
    assert topology.plan(larger, NETWORK)[:-1] == topology.plan(config, NETWORK)


def test_the_inventory_is_what_ansible_and_testinfra_read() -> None:
    config = LabConfig(name="two", workers=1, timing="drill")
    machines = topology.plan(config, NETWORK)
    text = inventory.for_lab(config, machines, paths.bundles() / "x", paths.LabPaths("two"))
    tree = yaml.safe_load(text)["all"]
    assert tree["children"]["workers"]["hosts"] == {
        "two-worker-1": {
            "ansible_host": "10.203.7.20",
            "node_address": "10.203.7.20",
            "node_pod_subnet": "10.244.1.0/24",
        }
    }
    assert list(tree["children"]["control_planes"]["hosts"]) == ["two-cp-1"]
    assert tree["vars"]["lab_timing"] == "drill"
    assert "StrictHostKeyChecking=yes" in tree["vars"]["ansible_ssh_common_args"]


@pytest.mark.parametrize(
    ("family", "address", "second", "subnet", "services"),
    [
        ("ipv4", "10.203.7.20", None, "10.244.1.0/24", "10.96.0.0/16"),
        (
            *("dual", "10.203.7.20", "fd6c:6162:acb:700::14"),
            *("10.244.1.0/24,fd00:10:244:1::/64", "10.96.0.0/16,fd00:10:96::/112"),
        ),
        ("ipv6", "fd6c:6162:acb:700::14", None, "fd00:10:244:1::/64", "fd00:10:96::/112"),
    ],
)
def test_machines_have_addresses_of_the_families_that_are_asked_for(
    family: str, address: str, second: str | None, subnet: str, services: str
) -> None:
    config = LabConfig.model_validate({"name": "two", "workers": 1, "networks": {"family": family}})
    text = inventory.for_lab(config, topology.plan(config, NETWORK), paths.bundles(), paths.LabPaths("two"))
    tree = yaml.safe_load(text)["all"]
    worker = tree["children"]["workers"]["hosts"]["two-worker-1"]
    assert (worker["ansible_host"], worker["node_address"]) == (address, address)
    assert (worker.get("node_second_address"), worker["node_pod_subnet"]) == (second, subnet)
    assert tree["vars"]["lab_service_network"] == services


def test_the_inventory_says_what_the_way_carries_only_if_it_was_said() -> None:
    for networks, said in ({}, None), ({"mtu": 1400}, 1400):
        config = LabConfig.model_validate({"cni": "vxlan", "networks": networks})
        text = inventory.for_lab(config, topology.plan(config, NETWORK), paths.bundles(), paths.LabPaths("lab"))
        variables = yaml.safe_load(text)["all"]["vars"]
        assert (variables["lab_cni"], variables.get("lab_mtu")) == ("vxlan", said)


def test_the_inventory_holds_no_secret() -> None:
    config = LabConfig()
    text = inventory.for_lab(config, topology.plan(config, NETWORK), paths.bundles(), paths.LabPaths("lab"))
    assert not any(word in text.lower() for word in ("password", "token", "begin "))


def test_control_sockets_fit_into_a_socket_path() -> None:
    folder = paths.ssh_control(paths.LabPaths("l" * 30).folder)
    assert len(f"{folder}/{'c' * 40}.{'x' * 16}") < 104
