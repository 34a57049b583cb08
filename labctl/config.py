"""labctl.yml: the pydantic model of a lab, and how it is read. Everything has a default."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from labctl import config_file
from labctl.errors import UsageError

FILE_NAME = "labctl.yml"
DEFAULT_KUBERNETES = "1.37.2"
MAX_CONTROL_PLANES = 7
MAX_WORKERS = 50
_NODE_PREFIX = 24

LabName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeResources(_Strict):
    """What each machine may use; nothing means: as much as this host has."""

    cpus: Annotated[float, Field(gt=0, description="CPUs a machine may use, such as 1.5")] | None = None
    memory: (
        Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[MG]i$"), Field(description="such as 2Gi or 1500Mi")]
        | None
    ) = None


class Networks(_Strict):
    """IPv4 networks of the lab."""

    machines: IPv4Network | None = Field(
        default=None, description="the machines' own network, a /24; by default the first free one of 10.203.0.0/16"
    )
    pods: IPv4Network = Field(default=IPv4Network("10.244.0.0/16"), description="split into a /24 for each node")
    services: IPv4Network = Field(default=IPv4Network("10.96.0.0/16"))

    @model_validator(mode="after")
    def _apart(self) -> Self:
        named = {"machines": self.machines, "pods": self.pods, "services": self.services}
        known = [(name, network) for name, network in named.items() if network is not None]
        for at, (name, network) in enumerate(known):
            for other_name, other in known[at + 1 :]:
                if network.overlaps(other):
                    msg = f"{name} {network} and {other_name} {other} overlap"
                    raise ValueError(msg)
        if self.machines is not None and self.machines.prefixlen != _NODE_PREFIX:
            msg = f"machines must be a /{_NODE_PREFIX}, not {self.machines}"
            raise ValueError(msg)
        return self


class HelloWorld(_Strict):
    """The page that `labctl up` deploys."""

    enabled: bool = True
    image: str = Field(
        default="localhost/helloworld:1",
        description="one of the bundle's images, or any image that the machines can pull",
    )


class LabConfig(_Strict):
    """One lab: a cluster and its machines."""

    name: LabName = Field(default="lab", description="lab names keep several labs apart")
    kubernetes: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")] = DEFAULT_KUBERNETES
    provider: Literal["container"] = Field(default="container", description="machines as system containers (podman)")
    control_planes: Annotated[int, Field(ge=1, le=MAX_CONTROL_PLANES)] = 1
    workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)] = Field(
        default=2, description="0: the control plane also runs pods, one machine in all"
    )
    node: NodeResources = NodeResources()
    networks: Networks = Networks()
    timing: Literal["default", "fast", "drill"] = Field(
        default="default",
        description="how soon a dead machine is noticed: default as Kubernetes ships it (about 6 minutes until pods "
        "come back), fast (about 50 s), drill (about 20 s; for labs only)",
    )
    cni: Literal["routed", "none"] = Field(
        default="routed", description="routed: reference plugins and static routes; none: bring cni_manifest"
    )
    cni_manifest: str | None = Field(default=None, description="file of a network add-on to apply, with cni: none")
    hello_world: HelloWorld = HelloWorld()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.control_planes % 2 == 0:
            msg = f"control_planes: etcd needs an odd number of members, not {self.control_planes}"
            raise ValueError(msg)
        if self.cni_manifest is not None and self.cni != "none":
            msg = "cni_manifest needs cni: none"
            raise ValueError(msg)
        nodes = self.control_planes + self.workers
        subnets = 2 ** max(0, _NODE_PREFIX - self.networks.pods.prefixlen)
        if subnets < nodes or self.networks.pods.prefixlen > _NODE_PREFIX:
            msg = f"networks.pods: {self.networks.pods} has no /{_NODE_PREFIX} for each of {nodes} nodes"
            raise ValueError(msg)
        return self


def choices(key: str) -> list[str]:
    """The words that `key` may be."""
    return list(get_args(LabConfig.model_fields[key].annotation))


def schema() -> dict[str, Any]:
    """The JSON Schema of labctl.yml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **LabConfig.model_json_schema()}


def load(path: Path | None, overrides: dict[str, Any]) -> LabConfig:
    """The configuration: defaults, then the file, then `overrides` (flags that were given; None is not given).

    Without `path`, ``labctl.yml`` of the current directory is used where it exists.
    Raises `UsageError` that names each wrong key with its line and the nearest right one.
    """
    if path is None and Path(FILE_NAME).is_file():
        path = Path(FILE_NAME)
    data, lines = config_file.read(path) if path else ({}, {})
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
    if config.cni_manifest is None:
        return config
    # Beside the file that names it; an option is relative to the current directory.
    beside = path.parent if path and not overrides.get("cni_manifest") else Path()
    manifest = (beside / config.cni_manifest).absolute()
    if not manifest.is_file():
        raise UsageError(f"cni_manifest: there is no file {manifest}")
    return config.model_copy(update={"cni_manifest": str(manifest)})
