"""What labctl.yml says of where programs and images come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from labctl.config_machine import Strict

_Upstream = Annotated[str, StringConstraints(pattern=r"^https://(dl\.k8s\.io|github\.com|registry\.k8s\.io)$")]
_Component = Annotated[
    str, StringConstraints(pattern=r"^(containerd|runc|cni-plugins|etcd|coredns|pause|descheduler|busybox)$")
]


class BundleSource(Strict):
    """Where programs and images come from."""

    source: Literal["auto", "download", "build", "file"] = Field(
        default="auto", description="auto: the cache, else download, else build from source; file: an exported bundle"
    )
    file: str | None = Field(default=None, description="a bundle that labctl bundle export wrote, with source: file")
    mirrors: dict[_Upstream, Annotated[str, StringConstraints(pattern=r"^https?://[^/]+")]] = Field(
        default={},
        description="what stands for upstream's servers, such as https://registry.k8s.io: http://mirror:5000",
    )
    versions: dict[_Component, Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)+(-\d+)?$")]] = Field(
        default={}, description="other versions to download, such as containerd: 2.2.1"
    )

    @model_validator(mode="after")
    def _file_has_its_source(self) -> Self:
        if (self.source == "file") != (self.file is not None):
            msg = "source: file and file: FILE need each other"
            raise ValueError(msg)
        return self
