"""What of a lab's own past is in the way of `up`: things that were changed behind labctl's back.

Each is said with the command that mends it, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from labctl import paths, topology
from labctl.config import LabConfig
from labctl.errors import command_for
from labctl.providers import network
from labctl.providers.base import Problem
from labctl.providers.engine import Container, Engine
from labctl.topology import Planned


def check(
    config: LabConfig, engine: Engine, labels: dict[str, str], network_name: str, present: list[Container]
) -> list[Problem]:
    """All obstacles to the lab of `config`: `present` are its containers, they and its network carry `labels`."""
    nets = engine.networks()
    if any(net.name == network_name and not labels.items() <= net.labels.items() for net in nets):
        text = f"the network {network_name} is there, but is not this lab's"
        return [Problem(text, f"{engine.name} network rm {network_name}, or use another --lab")]
    others = (config.networks.pods, config.networks.services)
    subnet = network.choose(nets, network_name, config.networks.machines, others)
    found = {label_of(item): item.name for item in present}
    lab = paths.LabPaths(config.name)
    again = f"{command_for(config.name, 'down')}, then {command_for(config.name, 'up')}"
    if found and not (lab.record.exists() and lab.ssh_key.exists()):
        text = f"the machines {', '.join(sorted(found))} are there, but {lab.folder} with their keys and disks is gone"
        return [Problem(text, again)]
    wanted = topology.plan(config, subnet)
    return [
        *_taken(wanted, found, engine),
        *_renamed(found, engine),
        *_without_disk(found, lab, again),
        *_lost(wanted, found, lab, again),
    ]


def label_of(container: Container) -> str:
    """The machine that a container is, whatever it is called now."""
    return str(container.labels.get("labctl.machine", container.name))


def _taken(wanted: list[Planned], found: dict[str, str], engine: Engine) -> Iterator[Problem]:
    for machine in wanted:
        if machine.name not in found and engine.state(machine.name) != "missing":
            text = f"the name {machine.name} is taken by a container that is not this lab's"
            yield Problem(text, f"{engine.name} rename {machine.name} OTHER-NAME, or use another --lab")


def _renamed(found: dict[str, str], engine: Engine) -> Iterator[Problem]:
    for machine, name in found.items():
        if machine != name:
            yield Problem(f"the machine {machine} was renamed to {name}", f"{engine.name} rename {name} {machine}")


def _without_disk(found: dict[str, str], lab: paths.LabPaths, again: str) -> Iterator[Problem]:
    for machine in found:
        if not (lab.machine(machine) / "var").is_dir():
            yield Problem(f"the disk of {machine} is gone: there is no {lab.machine(machine) / 'var'}", again)


def _lost(wanted: list[Planned], found: dict[str, str], lab: paths.LabPaths, again: str) -> Iterator[Problem]:
    """A finished lab whose control plane is gone has no cluster any more: the workers belong to none."""
    if not lab.kubeconfig.exists():
        return
    for machine in wanted:
        if machine.role == "control-plane" and machine.name not in found:
            yield Problem(f"the control plane {machine.name} is gone, and with it its part of the cluster", again)
