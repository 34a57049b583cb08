"""Where upstream publishes what a bundle holds: release files with their checksums, and images. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from labctl.bundle.recipe import UsedBy, digest

DOWNLOADS = "https://dl.k8s.io"
GITHUB = "https://github.com"
REGISTRY = "https://registry.k8s.io"
LAYOUT = 1  # raised when a downloaded bundle is put together differently


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release. `programs` maps a path in the bundle to a member of the archive, '' for the file itself.

    `url` and `sums_url` are upstream's own; mirrors are somebody else's business.
    """

    component: str
    version: str
    url: str
    sums_url: str
    programs: Mapping[str, str]
    is_signed: bool = False

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]

    def checksum_in(self, sums: str) -> str | None:
        """The file's SHA-256 in the text at `sums_url`: alone, or in a line with the file's name."""
        for line in sums.splitlines():
            found = re.fullmatch(r"([0-9a-f]{64})(?:\s+\*?(?:\S*/)?(\S+))?\s*", line)
            if found and found[2] in (None, self.file_name):
                return found[1]
        return None


@dataclass(frozen=True)
class RemoteImage:
    """An image of the registry, and the name that it has in the bundle."""

    ref: str
    repository: str
    tag: str
    used_by: UsedBy

    @property
    def path(self) -> str:
        """Its tar in the bundle."""
        return f"images/{self.repository.rsplit('/', 1)[-1]}.tar"


@dataclass(frozen=True)
class Release:
    """A version of Kubernetes for one architecture, with the `versions` of all that goes with it."""

    kubernetes: str
    arch: str
    versions: Mapping[str, str]

    @property
    def files(self) -> tuple[ReleaseFile, ...]:
        """Every file that programs come from."""
        kubernetes = (self._kubernetes(name) for name in ("kubeadm", "kubelet", "kubectl"))
        return (*kubernetes, self._containerd(), self._runc(), self._cni_plugins(), self._etcd())

    @property
    def images(self) -> tuple[RemoteImage, ...]:
        """Every image of the registry."""
        servers = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        version = self.versions
        return (
            *(_image(name, f"v{self.kubernetes}", "control_plane") for name in servers),
            _image("kube-proxy", f"v{self.kubernetes}"),
            _image("etcd", f"{version['etcd']}-0", "control_plane"),
            _image("coredns/coredns", f"v{version['coredns']}"),
            _image("pause", version["pause"]),
            _image("descheduler/descheduler", f"v{version['descheduler']}", "control_plane"),
            RemoteImage("localhost/busybox:1", "e2e-test-images/busybox", version["busybox"], "all"),
        )

    @property
    def hash(self) -> str:
        """Names the bundle's folder: everything that decides what is fetched."""
        return digest(
            {
                "layout": LAYOUT,
                "kubernetes": self.kubernetes,
                "files": [asdict(file) for file in self.files],
                "images": [asdict(image) for image in self.images],
            }
        )

    def _kubernetes(self, name: str) -> ReleaseFile:
        url = f"{DOWNLOADS}/release/v{self.kubernetes}/bin/linux/{self.arch}/{name}"
        programs = {f"bin/{name}": ""}
        return ReleaseFile("kubernetes", self.kubernetes, url, f"{url}.sha256", programs, is_signed=True)

    def _containerd(self) -> ReleaseFile:
        version = self.versions["containerd"]
        url = _github("containerd/containerd", f"v{version}", f"containerd-static-{version}-linux-{self.arch}.tar.gz")
        names = ("containerd", "containerd-shim-runc-v2", "ctr")
        return ReleaseFile(
            "containerd", version, url, f"{url}.sha256sum", {f"bin/{name}": f"bin/{name}" for name in names}
        )

    def _runc(self) -> ReleaseFile:
        version = self.versions["runc"]
        url = _github("opencontainers/runc", f"v{version}", f"runc.{self.arch}")
        sums = _github("opencontainers/runc", f"v{version}", "runc.sha256sum")
        return ReleaseFile("runc", version, url, sums, {"bin/runc": ""})

    def _cni_plugins(self) -> ReleaseFile:
        version = self.versions["cni-plugins"]
        url = _github("containernetworking/plugins", f"v{version}", f"cni-plugins-linux-{self.arch}-v{version}.tgz")
        names = ("ptp", "bridge", "loopback", "host-local", "portmap", "firewall")
        return ReleaseFile("cni-plugins", version, url, f"{url}.sha256", {f"cni/{name}": name for name in names})

    def _etcd(self) -> ReleaseFile:
        version = self.versions["etcd"]
        folder = f"etcd-v{version}-linux-{self.arch}"
        url = _github("etcd-io/etcd", f"v{version}", f"{folder}.tar.gz")
        sums = _github("etcd-io/etcd", f"v{version}", "SHA256SUMS")
        return ReleaseFile(
            "etcd", version, url, sums, {f"bin/{name}": f"{folder}/{name}" for name in ("etcdctl", "etcdutl")}
        )


def _image(repository: str, tag: str, used_by: UsedBy = "all") -> RemoteImage:
    return RemoteImage(f"registry.k8s.io/{repository}:{tag}", repository, tag, used_by)


def _github(project: str, tag: str, file: str) -> str:
    return f"{GITHUB}/{project}/releases/download/{tag}/{file}"
