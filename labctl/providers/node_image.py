"""The node image: a base machine on which the roles have run once, sealed. Cached by the content that made it.

Its /usr lies in the engine's store and is shared by all machines; its /var (containerd's images) lies in the cache
folder and is hard-linked into each machine (`labctl.providers.disk`).
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from labctl import paths
from labctl.errors import ProviderError
from labctl.events import Emit
from labctl.providers import container, host, launch, rootfs
from labctl.providers.base import Machine
from labctl.providers.engine import Engine
from labctl.state import write_file

_CLEAN = r"""
set -eu
systemctl stop containerd kubelet 2>/dev/null || true
rm -rf /root/.ansible /root/.cache /tmp/* /var/tmp/* /var/log/journal/* /var/lib/labctl /var/lib/systemd/random-seed
find /var/log -type f -delete
: > /etc/machine-id
"""

_NETWORKS = {"podman": "podman", "docker": "bridge"}
"""What each engine calls the network that it has by itself."""


def key_of(recipe: str, engine: Engine) -> str:
    """The node image's key: a hash of `recipe` (roles and bundle), base, engine, cache, and what of the host goes in.

    The cache has the other half of the image: two caches that share an engine's store must not share a key.
    """
    facts = host.look()
    parts = (
        recipe,
        rootfs.key(),
        engine.name,
        f"cgroup{facts.cgroup}",
        f"sys_resource={facts.can_sys_resource}",
        f"user_namespace={host.in_user_namespace()}",
        str(paths.cache()),
        _CLEAN,
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def discard_unfinished(engine: Engine) -> None:
    """Remove what killed bakes of this cache left, but for one that another labctl is at work on."""
    for item in engine.containers(["labctl.bake", f"labctl.cache={paths.cache()}"]):
        image = NodeImage(item.labels["labctl.bake"], engine)
        with suppress(Timeout), image.lock().acquire(timeout=0):
            image.discard()


class NodeImage:
    """The node image `key`."""

    def __init__(self, key: str, engine: Engine | None = None) -> None:
        self.key = key
        self.engine = engine or Engine()
        self.reference = f"localhost/labctl/node:{key}"
        self.folder = paths.node_images() / key
        self._name = f"labctl-bake-{key}"
        self._lab = paths.LabPaths(f"bake-{key}")
        self._labels = {"labctl.bake": key, "labctl.cache": str(paths.cache())}

    def exists(self) -> bool:
        """Whether both halves are there."""
        return (self.folder / "var").is_dir() and self.engine.has_image(self.reference)

    def lock(self) -> FileLock:
        """Held while the image is made, so that two labs do not bake it at once."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder.with_suffix(".lock"))

    def start(self, emit: Emit) -> tuple[Machine, paths.LabPaths]:
        """A running base machine to run the roles on, and the folder with its keys."""
        self.discard()
        with FileLock(self.folder.with_name("base.lock")):
            base = rootfs.ensure(self.engine, self._labels, emit)
        work = self._work()
        var = work / "var"
        var.mkdir(parents=True)
        limits = host.run_arguments(host.look())
        copy = ("cp", "-a", "/var/.", "/out/")
        self.engine("run", "--rm", *limits, "--volume", f"{var}:/out", "--network", "none", base, *copy)
        container.ensure_ssh_key(self._lab)
        container.write_identity(self._lab, self._lab.machine(self._name), var)
        # Without root, podman gives no address unless a network is named.
        network = ("--network", _NETWORKS[self.engine.name])
        self.engine(*launch.machine(self.engine, self._name, var, self._labels, base, *network))
        address = self.engine.address(self._name)
        if not address:
            raise ProviderError(f"{self._name} got no address", f"{self.engine.name} inspect {self._name}")
        public = container.ensure_host_key(self._lab.machine(self._name))
        write_file(self._lab.known_hosts, f"{address} {public}\n")
        container.wait_reachable(address, self._name, f"{self.engine.name} logs")
        return Machine(self._name, "control-plane", address, "on"), self._lab

    def seal(self) -> None:
        """Stop the machine and keep what the roles made."""
        self.engine("exec", self._name, "sh", "-c", _CLEAN)
        self.engine("stop", "-t", "20", self._name)
        labels = (f"LABEL labctl.node={self.key}", f"LABEL labctl.cache={paths.cache()}")
        self.engine.commit(self._name, self.reference, *labels)
        self.engine.remove([self._name])
        shutil.rmtree(self.folder, ignore_errors=True)
        self._work().rename(self.folder)
        self._forget()
        self._prune()

    def discard(self) -> None:
        """Remove what an unfinished bake left."""
        self.engine.settle(f"labctl.bake={self.key}")
        self.engine.remove([self._name])
        shutil.rmtree(self._work(), ignore_errors=True)
        self._forget()

    def _prune(self) -> None:
        """Remove this cache's older node images that no machine uses; the engine refuses to remove one in use."""
        own = f"label=labctl.cache={paths.cache()}"
        done = self.engine("images", "--filter", own, "--format", "{{.Tag}}", check=False)
        for key in set(done.stdout.split()) - {self.key, "<none>"}:
            if self.engine("rmi", f"localhost/labctl/node:{key}", check=False).code == 0:
                shutil.rmtree(self.folder.with_name(key), ignore_errors=True)

    def _forget(self) -> None:
        shutil.rmtree(self._lab.folder, ignore_errors=True)
        shutil.rmtree(paths.ssh_control(self._lab.folder), ignore_errors=True)

    def _work(self) -> Path:
        return self.folder.with_name(f"{self.key}.unfinished")
