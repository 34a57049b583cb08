"""labctl.yml: the pydantic model of a lab, and how it is read. Everything has a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints, ValidationError, model_validator

from labctl import config_file
from labctl.config_bundle import BundleSource
from labctl.config_hosts import (
    OF_HOSTS,
    Consent,
    Host,
    HostName,
    LeftAlone,
    PowerSwitch,
    Ssh,
    refuse_clashes,
    refuse_half_switches,
)
from labctl.config_machine import MachineSettings, Port, Strict
from labctl.config_networks import AROUND_VXLAN, LEAST_MTU6, NODE_PREFIXES, Networks
from labctl.config_outside import Mirrors, Proxy
from labctl.config_vagrant import NETWORK, Vagrant
from labctl.errors import DEFAULT_LAB, UsageError

FILE_NAME = "labctl.yml"
DEFAULT_KUBERNETES = "1.37.2"
MAX_CONTROL_PLANES = 7
MAX_WORKERS = 50
SLOW_PATIENCE = 6.0
"""Emulated machines took six to ten times as long as containers; most limits have room already."""
MAX_SHUTDOWN_S = 60

_HOST = r"[a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?"
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
ImageName = Annotated[
    str,
    StringConstraints(
        pattern=rf"^({_HOST}/)?{_PART}(/{_PART})*(:[a-zA-Z0-9_][-a-zA-Z0-9_.]{{0,127}})?(@sha256:[0-9a-f]{{64}})?$"
    ),
]
LabName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$")]


class HelloWorld(Strict):
    """The page that `labctl up` deploys."""

    enabled: bool = True
    image: ImageName = Field(
        default="localhost/helloworld:1",
        description="one of the bundle's images, or any image that the machines can pull",
    )


class Drills(Strict):
    """What drills may do."""

    control_plane: bool = Field(default=False, description="take the control plane away without being asked (--yes)")


class LabConfig(Strict):
    """One lab: a cluster and its machines."""

    name: LabName = Field(default=DEFAULT_LAB, description="lab names keep several labs apart")
    kubernetes: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = DEFAULT_KUBERNETES
    provider: Literal["auto", "podman", "docker", "vagrant", "hosts"] = Field(
        default="auto",
        description="what the machines are containers of; auto: the first that works, podman before docker; "
        "vagrant: virtual machines; hosts: machines that are there already",
    )
    vagrant: Vagrant = Field(default=Vagrant(), description="how virtual machines are made")
    hosts: dict[HostName, Host] = Field(default={}, description="with provider: hosts, the machines by their names")
    inventory: str | None = Field(
        default=None,
        description="with provider: hosts, instead of hosts: an Ansible inventory with the groups control_planes and "
        "workers (inventories/README.md)",
    )
    ssh: Ssh = Field(default=Ssh(), description="how the hosts are reached, where a host itself says nothing")
    consent: Consent = Field(default=Consent(), description="what labctl may do to hosts")
    power: PowerSwitch | None = Field(
        default=None, description="the hosts' power switch: commands of yours, or their BMCs"
    )
    leave_alone: tuple[LeftAlone, ...] = Field(
        default=(), description="what of the hosts you look after yourself (docs/machines.md)"
    )
    control_planes: Annotated[int, Field(ge=1, le=MAX_CONTROL_PLANES)] = 1
    workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        default=2, description="0: the control plane also runs pods, one machine in all"
    )
    node: MachineSettings = Field(default=MachineSettings(), description="of every machine")
    nodes: dict[str, MachineSettings] = Field(
        default={}, description="what one machine has beside or instead of it, by its name without the lab's: worker-1"
    )
    networks: Networks = Networks()
    timing: Literal["default", "fast", "drill"] = Field(
        default="default",
        description="how soon a dead machine is noticed: default as Kubernetes ships it (about 6 minutes until pods "
        "come back), fast (about 50 s), drill (about 20 s; for labs only)",
    )
    slow_machine: bool = Field(
        default=False,
        description="the machines, or their host, are slow: an old laptop, emulation. Everybody waits longer, the "
        "control plane is not restarted for a late answer, DNS has one server",
    )
    shutdown_grace_s: Annotated[int, Field(ge=0, le=MAX_SHUTDOWN_S)] = Field(
        default=0,
        description="how long a machine's shutdown waits until its pods have ended, the last third for critical ones "
        "(the kubelet's shutdownGracePeriod); 0: it does not",
    )
    cni: Literal["routed", "vxlan", "none"] = Field(
        default="routed",
        description="routed: reference plugins and static routes, on one network; vxlan: the same through vxlan "
        "devices, for machines on several; none: bring cni_manifest",
    )
    cni_manifest: str | None = Field(default=None, description="file of a network add-on to apply, with cni: none")
    hello_world: HelloWorld = HelloWorld()
    images: tuple[str, ...] = Field(
        default=(),
        description="loaded into every machine: images of this host's engine by name, or archives by path (./app.tar)",
    )
    registry_mirrors: Mirrors = Field(
        default={}, description="for each registry (* for all others) the mirrors to ask first, in order"
    )
    proxy: Proxy = Proxy()
    ca_certificates: tuple[str, ...] = Field(
        default=(), description="PEM files that the machines trust, relative to this file"
    )
    bundle: BundleSource = BundleSource()
    drills: Drills = Drills()

    @model_validator(mode="before")
    @classmethod
    def _counts_hosts(cls, data: Any) -> Any:  # noqa: ANN401 (whatever was given; pydantic looks at it afterwards)
        hosts = data.get("hosts") if isinstance(data, dict) and data.get("provider") == "hosts" else None
        if not isinstance(hosts, dict) or not all(isinstance(host, dict | Host) for host in hosts.values()):
            return data
        roles = [dict(host).get("role", "worker") for host in hosts.values()]
        counts = {"control_planes": roles.count("control-plane"), "workers": roles.count("worker")}
        return {**data, **counts} if hosts else data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._fits_the_provider()
        if self.control_planes % 2 == 0:
            msg = f"control_planes: etcd needs an odd number of members, not {self.control_planes}"
            raise ValueError(msg)
        if self.slow_machine and self.timing != "default":
            msg = f"timing: with slow_machine a machine that is late would count as dead; default, not {self.timing}"
            raise ValueError(msg)
        if self.cni_manifest is not None and self.cni != "none":
            msg = "cni_manifest needs cni: none"
            raise ValueError(msg)
        if self.networks.mtu is not None and self.cni == "none":
            msg = "networks.mtu: with cni: none the network is not labctl's"
            raise ValueError(msg)
        least = LEAST_MTU6 + (AROUND_VXLAN if self.cni == "vxlan" else 0)
        if self.networks.family != "ipv4" and (self.networks.mtu or least) < least:
            msg = f"networks.mtu: with IPv6 and cni: {self.cni}, {least} at least, not {self.networks.mtu}"
            raise ValueError(msg)
        self._fits_the_machines()
        nodes = self.control_planes + self.workers
        for key, network in (("pods", self.networks.pods), ("pods6", self.networks.pods6)):
            prefix = NODE_PREFIXES[network.version]
            if network.prefixlen > prefix or 2 ** (prefix - network.prefixlen) < nodes:
                msg = f"networks.{key}: {network} has no /{prefix} for each of {nodes} nodes"
                raise ValueError(msg)
        return self

    def _fits_the_provider(self) -> None:
        """Raise `ValueError` for what is said of hosts without them, and for what only a container can have."""
        if self.provider == "vagrant":
            self._fits_vagrant()
        if self.provider != "hosts":
            said = [key for key in OF_HOSTS if getattr(self, key) != type(self).model_fields[key].default]
            if said:
                msg = f"{said[0]}: needs provider: hosts"
                raise ValueError(msg)
            return
        if not self.hosts and self.inventory is None:
            msg = "provider: hosts wants the machines by hosts: or inventory:"
            raise ValueError(msg)
        if self.networks.machines is not None:
            msg = "networks.machines: hosts have their network already"
            raise ValueError(msg)
        for place, settings in self._settings.items():
            if settings.made_of != MachineSettings().made_of:
                msg = f"{place}: cpus, memory, mounts and ports are of machines that labctl makes; hosts have their own"
                raise ValueError(msg)
        refuse_clashes(self.hosts, self.networks.of_pods, self.networks.of_services)
        refuse_half_switches({name: self.switch_of(name) for name in self.hosts})

    def _fits_vagrant(self) -> None:
        """Raise `ValueError` for what a virtual machine cannot have, and for networks that overlap its default one."""
        for name, network in (("pods", self.networks.pods), ("services", self.networks.services)):
            if self.networks.machines is None and network.overlaps(NETWORK):
                msg = f"networks.{name}: {network} and the machines' {NETWORK} overlap"
                raise ValueError(msg)
        for place, settings in self._settings.items():
            if settings.mounts or settings.ports:
                msg = f"{place}: mounts and ports are of containers; a virtual machine has its own disk and address"
                raise ValueError(msg)
            if settings.cpus != (settings.cpus and int(settings.cpus)):
                msg = f"{place}: a virtual machine has whole cpus, not {settings.cpus:g}"
                raise ValueError(msg)

    def _fits_the_machines(self) -> None:
        if self.networks.family == "ipv6" and any(self.machine(name).ports for name in self.machine_names):
            msg = "ports: they lead to a machine's IPv4 address, where with networks.family: ipv6 nothing answers"
            raise ValueError(msg)
        for name in self.nodes if self.hosts or self.inventory is None else ():
            if name not in self.machine_names:
                msg = f"nodes.{name}: the lab has no such machine; it has {', '.join(self.machine_names)}"
                raise ValueError(msg)
        taken: list[tuple[Port, str]] = []
        for name in self.machine_names:
            settings = self.machine(name)
            for port in settings.ports:
                other = next((owner for known, owner in taken if known.clashes(port)), None)
                if other:
                    what = f"{other} and {name}" if other != name else f"{name} twice"
                    msg = f"ports: this host has {port} once; asked for by {what} (nodes: speaks of one machine)"
                    raise ValueError(msg)
                taken.append((port, name))
            places = [mount.machine for mount in settings.mounts]
            twice = next((place for place in places if places.count(place) > 1), None)
            if twice:
                msg = f"mounts: {twice} of {name} is asked for twice"
                raise ValueError(msg)

    @property
    def _settings(self) -> dict[str, MachineSettings]:
        """Of every machine and of single ones, by their keys."""
        return {"node": self.node, **{f"nodes.{name}": settings for name, settings in self.nodes.items()}}

    @property
    def machine_names(self) -> list[str]:
        """All machines by their names without the lab's, control planes first. Hosts have only one name."""
        if self.provider == "hosts":
            first = [name for name, host in self.hosts.items() if host.role == "control-plane"]
            return first + [name for name in self.hosts if name not in first]
        counts = {"cp": self.control_planes, "worker": self.workers}
        return [f"{kind}-{number + 1}" for kind, count in counts.items() for number in range(count)]

    @property
    def node_names(self) -> list[str]:
        """All machines by the names of their Kubernetes nodes, control planes first."""
        prefix = "" if self.provider == "hosts" else f"{self.name}-"
        return [prefix + name for name in self.machine_names]

    def machine(self, name: str) -> MachineSettings:
        """What is said of the machine `name` (without the lab's), by `node` and by `nodes`."""
        return self.node.with_(self.nodes[name]) if name in self.nodes else self.node

    def switch_of(self, name: str) -> PowerSwitch | None:
        """What holds the power switch of the host `name`."""
        own = self.hosts[name].power
        return own.over(self.power) if own else self.power

    @property
    def has_network(self) -> bool:
        """Whether pods get a network: labctl's own, or that of a manifest."""
        return self.cni != "none" or self.cni_manifest is not None

    @property
    def patience(self) -> float:
        """How many times as long as usual may be waited."""
        return SLOW_PATIENCE if self.slow_machine else 1.0

    @property
    def has_way_out(self) -> bool:
        """Whether anything is said of how machines reach registries."""
        return bool(self.registry_mirrors or self.ca_certificates or self.proxy != Proxy())


def choices(key: str) -> list[str]:
    """The words that `key` may be."""
    return list(get_args(LabConfig.model_fields[key].annotation))


def schema() -> dict[str, Any]:
    """The JSON Schema of labctl.yml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **LabConfig.model_json_schema()}


def present_file() -> Path | None:
    """labctl.yml of the current directory, whether or not it can be read."""
    path = Path(FILE_NAME)
    return path if path.exists() or path.is_symlink() else None


def load(path: Path | None, overrides: dict[str, Any]) -> LabConfig:
    """The configuration: defaults, then the file, then `overrides` (flags that were given; None is not given).

    Without `path`, ``labctl.yml`` of the current directory is used where it exists.
    Raises `UsageError` that names each wrong key with its line and the nearest right one.
    """
    path = path or present_file()
    data, lines = config_file.read(path) if path else ({}, {})
    _refuse_two_ways(data, overrides)
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        config = LabConfig.model_validate(data | given)
    except ValidationError as error:
        said = [config_file.sentence(problem, LabConfig, lines, given) for problem in error.errors()]
        where = str(path) if path else "the options given"
        raise UsageError(
            f"{where} cannot be used:\n" + "\n".join(f"  {line}" for line in said),
            "labctl config schema lists all keys",
        ) from error
    # Beside the file that names them; an option is relative to the current directory.
    beside = path.parent if path else Path()
    config = _absolute(config, beside)
    changes: dict[str, Any] = {}
    if config.cni_manifest is not None:
        place = Path() if overrides.get("cni_manifest") else beside
        changes["cni_manifest"] = _existing("cni_manifest", place / config.cni_manifest)
    if config.bundle.file is not None:
        file = _existing("bundle.file", beside / config.bundle.file)
        changes["bundle"] = config.bundle.model_copy(update={"file": file})
    if config.inventory is not None:
        changes["inventory"] = str((beside / Path(config.inventory).expanduser()).absolute())
    return config.model_copy(update=changes)


def _refuse_two_ways(data: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise `UsageError` for a file that says twice which machines there are."""
    if "hosts" in data and "inventory" in data:
        raise UsageError("hosts and inventory both say which machines there are", "keep one of them in labctl.yml")
    counted = [key for key in ("control_planes", "workers") if key in data or options.get(key) is not None]
    if counted and ("hosts" in data or "inventory" in data):
        raise UsageError(
            f"{counted[0]}: hosts are counted, not asked for", "hosts, or the inventory, name each machine"
        )


def _existing(key: str, file: Path) -> str:
    if not file.is_file():
        raise UsageError(f"{key}: there is no file {file.absolute()}")
    return str(file.absolute())


def missing_files(config: LabConfig) -> list[str]:
    """A sentence for each file or folder that the configuration names and this host has not."""
    mounts = {mount.host for name in config.machine_names for mount in config.machine(name).mounts}
    archives = [image for image in config.images if is_archive(image)]
    return (
        [f"mounts: there is no {path}" for path in sorted(mounts) if not Path(path).exists()]
        + [f"ca_certificates: there is no file {path}" for path in config.ca_certificates if not Path(path).is_file()]
        + [f"images: there is no file {path}" for path in archives if not Path(path).is_file()]
        + [f"ssh: there is no file {path}" for path in sorted(_ssh_files(config)) if not Path(path).is_file()]
        + [f"power.redfish: there is no file {path}" for path in sorted(_bmc_files(config)) if not Path(path).is_file()]
    )


def _ssh_files(config: LabConfig) -> set[str]:
    return {path for ssh in (config.ssh, *config.hosts.values()) for path in (ssh.key, ssh.known_hosts) if path}


def _bmc_files(config: LabConfig) -> set[str]:
    switches = (config.power, *(host.power for host in config.hosts.values()))
    bmcs = [switch.redfish for switch in switches if switch and switch.redfish]
    return {path for bmc in bmcs for path in (bmc.password_file, bmc.ca) if path}


def is_archive(image: str) -> bool:
    """Whether an entry of `images` names a file, not an image of the engine."""
    return image.startswith((".", "/", "~")) or image.endswith((".tar", ".tar.gz", ".tgz"))


def _absolute(config: LabConfig, folder: Path) -> LabConfig:
    def resolve(path: str) -> str:
        return str((folder / Path(path).expanduser()).absolute())

    def reached(ssh: Any) -> Any:  # noqa: ANN401 (Ssh in, Ssh out; Host in, Host out)
        files: dict[str, Any] = {key: resolve(value) for key in ("key", "known_hosts") if (value := getattr(ssh, key))}
        if isinstance(ssh, Host):
            files["power"] = switched(ssh.power)
        return ssh.model_copy(update=files)

    def switched(power: PowerSwitch | None) -> PowerSwitch | None:
        if power is None or power.redfish is None:
            return power
        files = {key: resolve(value) for key in ("password_file", "ca") if (value := getattr(power.redfish, key))}
        return power.model_copy(update={"redfish": power.redfish.model_copy(update=files)})

    def mounted(settings: MachineSettings) -> MachineSettings:
        mounts = tuple(mount.model_copy(update={"host": resolve(mount.host)}) for mount in settings.mounts)
        return settings.model_copy(update={"mounts": mounts})

    return config.model_copy(
        update={
            "node": mounted(config.node),
            "nodes": {name: mounted(settings) for name, settings in config.nodes.items()},
            "images": tuple(resolve(image) if is_archive(image) else image for image in config.images),
            "ca_certificates": tuple(resolve(path) for path in config.ca_certificates),
            "ssh": reached(config.ssh),
            "power": switched(config.power),
            "hosts": {name: reached(host) for name, host in config.hosts.items()},
        }
    )
