"""What goes into a bundle: the programs, how each is linked, and the images.

The go.mod files below `go/` are the only place that names versions of modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from labctl.bundle import rules
from labctl.bundle.recipe import DebianGroup, GoGroup, ImageRecipe, Program, Recipe, UsedBy, host_arch
from labctl.bundle.upstream import Release
from labctl.errors import UsageError

_GO = Path(__file__).resolve().parent / "go"


def _bin(prefix: str, *names: str) -> tuple[Program, ...]:
    return tuple(Program(name, f"{prefix}/{name}", "bin") for name in names)


def _image_only(prefix: str, *names: str) -> tuple[Program, ...]:
    return tuple(Program(name, f"{prefix}/{name}") for name in names)


def _stamp(package: str) -> str:
    values = "gitVersion=v{version} gitMajor={major} gitMinor={minor} gitTreeState=clean gitCommit="
    return " ".join(f"-X {package}.{value}" for value in values.split())


def _kubernetes(source: Path) -> GoGroup:
    commands = "k8s.io/kubernetes/cmd"
    servers = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    return GoGroup(
        "kubernetes",
        "Kubernetes",
        source,
        (*_bin(commands, "kubeadm", "kubelet", "kubectl"), *_image_only(commands, *servers)),
        about_s=450,
        module="k8s.io/kubernetes",
        ldflags=f"{_stamp('k8s.io/component-base/version')} {_stamp('k8s.io/client-go/pkg/version')}",
    )


def _containerd() -> GoGroup:
    module = "github.com/containerd/containerd/v2"
    return GoGroup(
        "containerd",
        "containerd",
        _GO / "containerd",
        _bin(f"{module}/cmd", "containerd", "containerd-shim-runc-v2", "ctr"),
        about_s=65,
        module=module,
        tags=("no_btrfs", "no_devmapper", "no_zfs"),
        ldflags=f"-X {module}/version.Version=v{{version}}",
    )


def _runc() -> GoGroup:
    """Linked statically, libseccomp too, so that it runs on any distribution."""
    module = "github.com/opencontainers/runc"
    return GoGroup(
        "runc",
        "runc",
        _GO / "runc",
        (Program("runc", module, "bin"),),
        about_s=15,
        module=module,
        tags=("seccomp", "netgo", "osusergo"),
        ldflags="-extldflags=-static",
        cgo=True,
    )


def _etcd() -> GoGroup:
    etcd = "go.etcd.io/etcd"
    programs = (
        Program("etcd", f"{etcd}/server/v3"),
        Program("etcdctl", f"{etcd}/etcdctl/v3", "bin"),
        Program("etcdutl", f"{etcd}/etcdutl/v3", "bin"),
    )
    return GoGroup(
        "etcd",
        "etcd",
        _GO / "etcd",
        programs,
        about_s=35,
        module=f"{etcd}/server/v3",
        ldflags=f"-X {etcd}/api/v3/version.GitSHA=v{{version}}",
    )


def _cni_plugins() -> GoGroup:
    module = "github.com/containernetworking/plugins"
    where = {"ptp": "main", "bridge": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta"}
    where["firewall"] = "meta"
    return GoGroup(
        "cni-plugins",
        "CNI plugins",
        _GO / "cni-plugins",
        tuple(Program(name, f"{module}/plugins/{kind}/{name}", "cni") for name, kind in where.items()),
        about_s=15,
        module=module,
        ldflags=f"-X {module}/pkg/utils/buildversion.BuildVersion=v{{version}}",
    )


def _coredns() -> GoGroup:
    module = "github.com/coredns/coredns"
    return GoGroup("coredns", "CoreDNS", _GO / "coredns", (Program("coredns", module),), about_s=90, module=module)


def _descheduler() -> GoGroup:
    module = "sigs.k8s.io/descheduler"
    return GoGroup(
        "descheduler",
        "descheduler",
        _GO / "descheduler",
        (Program("descheduler", f"{module}/cmd/descheduler"),),
        about_s=110,
        module=module,
        ldflags=f"-X {module}/pkg/version.version=v{{version}}",
    )


def _own(name: str, title: str, version: str) -> GoGroup:
    program = Program(name, f"labctl/bundle/{name}")
    return GoGroup(
        name, title, _GO / name, (program,), about_s=5, own_version=version, ldflags="-X main.version={version}"
    )


def _server(name: str, version: str, used_by: UsedBy) -> ImageRecipe:
    path = f"usr/local/bin/{name}"
    extra: Literal["", "network-tools"] = "network-tools" if name == "kube-proxy" else ""
    ref = f"registry.k8s.io/{name}:v{version}"
    return ImageRecipe(ref, {path: name}, entrypoint=(f"/{path}",), extra=extra, used_by=used_by)


def _images(
    version: str, etcd: GoGroup, coredns: GoGroup, pause: GoGroup, descheduler: GoGroup
) -> tuple[ImageRecipe, ...]:
    etcd_files = {f"usr/local/bin/{name}": name for name in ("etcd", "etcdctl", "etcdutl")}
    etcd_ref = f"registry.k8s.io/etcd:{etcd.version}-0"
    dns_ref = f"registry.k8s.io/coredns/coredns:v{coredns.version}"
    return (
        _server("kube-apiserver", version, "control_plane"),
        _server("kube-controller-manager", version, "control_plane"),
        _server("kube-scheduler", version, "control_plane"),
        _server("kube-proxy", version, "all"),
        ImageRecipe(etcd_ref, etcd_files, command=("etcd",), used_by="control_plane"),
        ImageRecipe(dns_ref, {"coredns": "coredns"}, entrypoint=("/coredns",)),
        ImageRecipe(f"registry.k8s.io/pause:{pause.version}", {"pause": "pause"}, entrypoint=("/pause",)),
        # Drills run it, once, on a control plane.
        ImageRecipe(
            f"registry.k8s.io/descheduler/descheduler:v{descheduler.version}",
            {"bin/descheduler": "descheduler"},
            command=("/bin/descheduler",),
            used_by="control_plane",
        ),
        ImageRecipe("localhost/busybox:1", {}, command=("sh",), extra="busybox"),
        ImageRecipe("localhost/helloworld:1", {"helloworld": "helloworld"}, entrypoint=("/helloworld",)),
    )


# Version of Kubernetes -> its folder below go/, and the pause version its kubeadm asks for.
_RECIPES = {
    "1.37.2": ("kubernetes-1.37", "3.10.2"),
    "1.36.3": ("kubernetes-1.36", "3.10.2"),
    "1.35.4": ("kubernetes-1.35", "3.10.1"),
}
# Minor release -> the images that its kubeadm asks for (cmd/kubeadm/app/constants in its source). What is built instead
# is newer: kubeadm 1.37 lists etcd 3.7 for all three.
_PUBLISHED = {
    "1.37": {"etcd": "3.7.0", "coredns": "1.14.6", "pause": "3.10.2"},
    "1.36": {"etcd": "3.6.8", "coredns": "1.14.2", "pause": "3.10.2"},
    "1.35": {"etcd": "3.6.6", "coredns": "1.13.1", "pause": "3.10.1"},
}
_BUSYBOX = "1.37.0-2"  # the one that the tests of Kubernetes 1.37 use (test/utils/image/manifest.go)


def known_versions() -> list[str]:
    """The versions of Kubernetes that can be built, the default first. Any other patch release can be downloaded."""
    return list(_RECIPES)


def _known() -> str:
    return f"known versions: {', '.join(known_versions())}"


def recipe_for(version: str, arch: str = "") -> Recipe:
    """How the bundle of `version`, such as ``1.37.2``, is built; `UsageError` if that is not known."""
    rules.check({"kubernetes": version}, _known())
    if version not in _RECIPES:
        raise UsageError(
            f"there is no recipe to build Kubernetes {version}",
            f"{_known()}; or download it: labctl bundle download --kubernetes {version}",
        )
    folder, pause_version = _RECIPES[version]
    etcd, coredns, pause, descheduler = _etcd(), _coredns(), _own("pause", "pause", pause_version), _descheduler()
    groups = (
        _own("helloworld", "hello-world", "1"),
        pause,
        _cni_plugins(),
        _runc(),
        _containerd(),
        etcd,
        coredns,
        descheduler,
        _kubernetes(_GO / folder),
    )
    return Recipe(
        version, arch or host_arch(), groups, DebianGroup(), _images(version, etcd, coredns, pause, descheduler)
    )


def release_for(version: str, arch: str = "", versions: Mapping[str, str] | None = None) -> Release:
    """What upstream publishes for `version`; `versions` replaces those of other components (containerd, etcd ...).

    `UsageError` if they cannot go together.
    """
    rules.check({"kubernetes": version}, _known())
    chosen: dict[str, str] = {
        group.name: group.version for group in (_containerd(), _runc(), _cni_plugins(), _descheduler())
    }
    chosen |= {**_PUBLISHED[version.rpartition(".")[0]], "busybox": _BUSYBOX, **(versions or {})}
    rules.check({name.replace("-", "_"): value for name, value in chosen.items()})
    return Release(version, arch or host_arch(), chosen)
