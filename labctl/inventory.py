"""The Ansible inventory: a pure function of the configuration and the machines."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from labctl import paths
from labctl.config import LabConfig
from labctl.config_machine import MachineSettings, taint_parts
from labctl.providers import hosts, vagrant
from labctl.topology import Planned

_SLOW_CONNECT_S = 60


def for_lab(
    config: LabConfig,
    machines: Sequence[Planned],
    bundle: Path,
    lab: paths.LabPaths,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The lab's inventory as YAML: groups control_planes and workers, and what the playbooks need to know.

    `more` has further variables by machine; what labctl says goes before them.
    """
    variables = _of_all(config, bundle, lab)
    reached = vagrant.as_hosts(config) if config.provider == "vagrant" else config
    is_hosts = reached.provider == "hosts"
    groups: dict[str, dict[str, Any]] = {"control_planes": {}, "workers": {}}
    for machine in machines:
        group = "control_planes" if machine.role == "control-plane" else "workers"
        groups[group][machine.name] = {
            **{key: value for key, value in (more or {}).get(machine.name, {}).items() if key not in variables},
            "ansible_host": str(machine.address),
            "node_address": str(machine.address),
            **({"node_second_address": str(machine.second_address)} if machine.second_address else {}),
            "node_pod_subnet": _listed(filter(None, (machine.pod_subnet, machine.second_pod_subnet))),
            **_kubelet(machine.settings),
            **(_reach(reached, machine.name, lab) if is_hosts else {}),
        }
    return _render(groups, variables if is_hosts else variables | _ssh(lab, is_slow=config.slow_machine))


def _of_all(config: LabConfig, bundle: Path, lab: paths.LabPaths) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "lab_name": config.name,
        "lab_bundle": str(bundle),
        "lab_timing": config.timing,
        "lab_slow_machine": config.slow_machine,
        "lab_shutdown_grace_s": config.shutdown_grace_s,
        "lab_pod_network": _listed(config.networks.of_pods),
        "lab_service_network": _listed(config.networks.of_services),
        "lab_cni": config.cni,
        "lab_cni_manifest": config.cni_manifest or "",
        "lab_hello_world": config.hello_world.enabled,
        "lab_hello_world_image": config.hello_world.image,
        "lab_kubeconfig": str(lab.kubeconfig),
        "lab_registry_mirrors": {name: list(urls) for name, urls in config.registry_mirrors.items()},
        "lab_proxy": config.proxy.model_dump(mode="json"),
        "lab_ca_certificates": list(config.ca_certificates),
    }
    if config.networks.mtu is not None:
        variables["lab_mtu"] = config.networks.mtu
    if config.slow_machine:
        variables["ansible_timeout"] = _SLOW_CONNECT_S
    if config.leave_alone:
        variables["lab_leave_alone"] = list(config.leave_alone)
    return variables


def _listed(things: Iterable[object]) -> str:
    """With commas, as Kubernetes writes what it has of two families of addresses."""
    return ",".join(map(str, things))


def for_bake(machine: str, address: str, bundle: Path, lab: paths.LabPaths) -> str:
    """The inventory of the one machine that becomes the node image."""
    groups = {"control_planes": {machine: {"ansible_host": address, "node_address": address}}, "workers": {}}
    # No lab's: machines of every lab are made from it.
    return _render(groups, {"lab_bundle": str(bundle), "lab_cni": "none", "node_base_lab": "", **_ssh(lab)})


def _kubelet(settings: MachineSettings) -> dict[str, Any]:
    """What the node says of itself when it joins."""
    variables: dict[str, Any] = {}
    if settings.taints:
        variables["node_taints"] = [taint_parts(taint) for taint in settings.taints]
    if settings.cpus and settings.cpus != ceil(settings.cpus):
        # The kubelet counts whole CPUs.
        rest = round((ceil(settings.cpus) - settings.cpus) * 1000)
        variables["node_kubelet_args"] = {"system-reserved": f"cpu={rest}m"}
    return variables


def _reach(config: LabConfig, name: str, lab: paths.LabPaths) -> dict[str, Any]:
    """How Ansible reaches a host: what ssh's own configuration says is left to it."""
    host = config.hosts[name]
    ssh = host.over(config.ssh)
    said = {"ansible_user": ssh.user, "ansible_port": ssh.port, "ansible_ssh_private_key_file": ssh.key}
    return {
        "ansible_host": host.address,
        **{key: value for key, value in said.items() if value},
        "ansible_ssh_common_args": shlex.join(hosts.ssh_options(ssh)) + f" {_shared(lab, is_slow=config.slow_machine)}",
        "ansible_become": hosts.becomes(ssh),
    }


def _shared(lab: paths.LabPaths, *, is_slow: bool) -> str:
    """One connection a machine for all tasks, and its loss noticed: within 15 s, of a slow machine within 5 minutes."""
    interval, count = (30, 10) if is_slow else (5, 3)
    return (
        f"-o ControlMaster=auto -o ControlPersist=60s -o ControlPath={paths.ssh_control(lab.folder)}/%C "
        f"-o ServerAliveInterval={interval} -o ServerAliveCountMax={count}"
    )


def _ssh(lab: paths.LabPaths, *, is_slow: bool = False) -> dict[str, str]:
    options = (
        f"-F none -o {shlex.quote(f'UserKnownHostsFile={paths.for_ssh(lab.known_hosts)}')} "
        f"-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes {_shared(lab, is_slow=is_slow)}"
    )
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab.ssh_key),
        "ansible_ssh_common_args": options,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _render(groups: dict[str, dict[str, Any]], variables: dict[str, Any]) -> str:
    tree = {"all": {"vars": variables, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}}
    head = "# Written by labctl; it also serves ansible-playbook -i THIS-FILE playbooks/up.yml\n"
    return head + yaml.safe_dump(tree, sort_keys=False)
