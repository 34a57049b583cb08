"""What `labctl doctor` looks at: engine, limits, space, memory, and how a bundle could be had."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import psutil

from labctl import bundle, paths
from labctl.config import DEFAULT_KUBERNETES
from labctl.errors import LabError
from labctl.providers import host, rootfs
from labctl.providers.container import ContainerProvider
from labctl.providers.engine import Engine

_GIB = 1024**3
_DISK_NEEDED_GIB = 15
_MEMORY_NEEDED_GIB = 2


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was `seen`, and the command that mends it if it is not ok."""

    name: str
    is_ok: bool
    seen: str
    fix: str = ""


def examine() -> list[Check]:
    """All checks, none of which changes anything."""
    engine = Engine()
    facts = host.look()
    problems = ContainerProvider("lab", engine).preflight()
    checks = [Check("machines", is_ok=False, seen=problem.text, fix=problem.hint) for problem in problems]
    if not problems:
        done = engine("version", "--format", "{{.Client.Version}}", check=False)
        checks.append(
            Check("machines", is_ok=True, seen=f"{engine.name} {done.stdout.strip()}, cgroup v{facts.cgroup}")
        )
    return [*checks, _bundle(), _base(engine), _disk(), _memory()]


def _bundle() -> Check:
    try:
        cached = bundle.find(DEFAULT_KUBERNETES)
        if cached:
            return Check("bundle", is_ok=True, seen=f"Kubernetes {DEFAULT_KUBERNETES} is cached in {cached.path}")
        bundle.check_prerequisites(DEFAULT_KUBERNETES)
    except LabError as error:
        return Check("bundle", is_ok=False, seen=error.message, fix=error.hint)
    return Check("bundle", is_ok=True, seen="not cached; labctl up builds it from source, about a quarter of an hour")


def _base(engine: Engine) -> Check:
    if engine.is_installed() and engine.has_image(rootfs.reference()):
        return Check("base image", is_ok=True, seen="cached")
    if shutil.which("mmdebstrap"):
        return Check("base image", is_ok=True, seen=f"from {rootfs.UPSTREAM_IMAGE}, else by mmdebstrap")
    return Check("base image", is_ok=True, seen=f"from {rootfs.UPSTREAM_IMAGE}; without a registry it needs mmdebstrap")


def _disk() -> Check:
    folder = paths.cache()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / _GIB
    cached = bundle.find(DEFAULT_KUBERNETES) is not None
    needed = 3 if cached else _DISK_NEEDED_GIB
    is_ok = free >= needed
    fix = "" if is_ok else "make room, or point XDG_CACHE_HOME and LABCTL_HOME to a larger disk"
    return Check("disk", is_ok=is_ok, seen=f"{free:.0f} GiB free at {folder}, {needed} needed", fix=fix)


def _memory() -> Check:
    free = psutil.virtual_memory().available / _GIB
    is_ok = free >= _MEMORY_NEEDED_GIB
    fix = "" if is_ok else "close something, or labctl up --workers 0"
    return Check("memory", is_ok=is_ok, seen=f"{free:.1f} GiB free, {_MEMORY_NEEDED_GIB} needed", fix=fix)
