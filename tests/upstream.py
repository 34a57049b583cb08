"""Upstream's release locations on a `Web`: the paths, checksum files and archives as they are published."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from labctl.bundle.upstream import DOWNLOADS, GITHUB, REGISTRY, Release
from tests.web import Web

Content = bytes | Path


def mirrors(web: Web) -> dict[str, str]:
    """labctl.yml's bundle.mirrors for it: three servers in one."""
    return {DOWNLOADS: f"{web.url}/dl", GITHUB: f"{web.url}/gh", REGISTRY: web.url}


def publish_files(web: Web, release: Release, programs: Mapping[str, Content], etcd_folder: str = "") -> None:
    """Publish the files of `release`, made of `programs` (path in the bundle -> content)."""
    arch, version = release.arch, release.versions
    for name in ("kubeadm", "kubelet", "kubectl"):
        path = f"/dl/release/v{release.kubernetes}/bin/linux/{arch}/{name}"
        content = programs[f"bin/{name}"]
        web.files |= {path: content, f"{path}.sha256": _sha256(content).encode()}
    folder = f"/gh/containerd/containerd/releases/download/v{version['containerd']}"
    packed = _tar({f"bin/{name}": programs[f"bin/{name}"] for name in ("containerd", "containerd-shim-runc-v2", "ctr")})
    _with_sums(web, f"{folder}/containerd-static-{version['containerd']}-linux-{arch}.tar.gz", packed, ".sha256sum")
    folder = f"/gh/opencontainers/runc/releases/download/v{version['runc']}"
    runc, other = programs["bin/runc"], "0" * 64
    sums = f"{_sha256(runc)}  runc.{arch}\n{other}  runc.s390x\n{other}  runc.tar.xz\n"
    web.files |= {f"{folder}/runc.{arch}": runc, f"{folder}/runc.sha256sum": sums.encode()}
    folder = f"/gh/containernetworking/plugins/releases/download/v{version['cni-plugins']}"
    packed = _tar({f"./{Path(path).name}": programs[path] for path in programs if path.startswith("cni/")})
    _with_sums(web, f"{folder}/cni-plugins-linux-{arch}-v{version['cni-plugins']}.tgz", packed, ".sha256")
    folder = f"/gh/etcd-io/etcd/releases/download/v{version['etcd']}"
    name = f"etcd-v{version['etcd']}-linux-{arch}"
    packed = _tar({f"{etcd_folder or name}/{tool}": programs[f"bin/{tool}"] for tool in ("etcdctl", "etcdutl")})
    sums = f"{other}  etcd-v{version['etcd']}-darwin-{arch}.zip\n{_sha256(packed)}  {name}.tar.gz\n"
    web.files |= {f"{folder}/{name}.tar.gz": packed, f"{folder}/SHA256SUMS": sums.encode()}


def publish_small(web: Web, release: Release, *, docker: bool = False, etcd_folder: str = "") -> None:
    """Publish `release` with programs of a few bytes and images of one layer."""
    programs: dict[str, Content] = {
        path: f"{path} {file.version}".encode() for file in release.files for path in file.programs
    }
    publish_files(web, release, programs, etcd_folder)
    for image in release.images:
        layer = gzip.compress(_tar_of_text(image.repository), mtime=0)
        web.image(image.repository, image.tag, layer, arch=release.arch, docker=docker)


def _tar_of_text(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("what")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def _tar(members: Mapping[str, Content]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _with_sums(web: Web, path: str, content: bytes, suffix: str) -> None:
    web.files |= {path: content, path + suffix: f"{_sha256(content)}  {Path(path).name}\n".encode()}


def _sha256(content: Content) -> str:
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha256(data).hexdigest()
