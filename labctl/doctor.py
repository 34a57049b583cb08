"""What `labctl doctor` looks at: engine, limits, space, folders, and how a bundle could be had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labctl import bundle, clock, paths, process, state
from labctl.config import DEFAULT_KUBERNETES, LabConfig
from labctl.errors import LabError
from labctl.providers import engines, host, needs, preflight, rootfs, rootless
from labctl.providers.engine import DOCKER, PODMAN, Engine

_RESTARTER = {PODMAN: "podman-restart.service", DOCKER: "docker.service"}
"""What starts machines when the host starts."""
_OWN_FOLDERS = "let HOME, or LABCTL_HOME and XDG_CACHE_HOME, name folders that are yours to write"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was `seen`, and the command that mends it if it is not ok."""

    name: str
    is_ok: bool
    seen: str
    fix: str = ""


def examine() -> list[Check]:
    """All checks, for a lab of the default size; none of them changes anything."""
    engine = engines.first_working()
    looks: dict[str, Callable[[], list[Check]]] = {
        "machines": partial(_machines, engine),
        "room": partial(_room, engine),
        "LABCTL_HOME": partial(_folder, "LABCTL_HOME", paths.home()),
        "XDG_CACHE_HOME": partial(_folder, "XDG_CACHE_HOME", paths.cache()),
        "clock": lambda: [_clock()],
        "bundle": lambda: [_bundle()],
        "base image": lambda: [_base(engine)],
        "host restart": lambda: [_restart(engine)],
    }
    return [check for name, look in looks.items() for check in _whatever_happens(name, look)]


def _whatever_happens(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    """What `look` finds; if it cannot look, that is the finding, and the others have their turn."""
    try:
        return look()
    except LabError as error:
        return [Check(name, is_ok=False, seen=error.message, fix=error.hint)]
    except OSError as error:
        return [Check(name, is_ok=False, seen=f"{error.filename}: {error.strerror}", fix=_OWN_FOLDERS)]


def _machines(engine: Engine) -> list[Check]:
    problems = preflight.check(engine)
    if problems:
        return [Check("machines", is_ok=False, seen=problem.text, fix=problem.hint) for problem in problems]
    names = " and ".join(engine.name for engine in engines.working())
    return [Check("machines", is_ok=True, seen=f"{names} on cgroup v{host.look().cgroup}")]


def _room(engine: Engine) -> list[Check]:
    is_baked = any(paths.node_images().glob("*/var"))
    wanted = needs.look(LabConfig(), engine, running=0, is_baked=is_baked)
    return [Check(need.name, need.is_met, str(need), "" if need.is_met else need.fix) for need in wanted]


def _folder(variable: str, folder: Path) -> list[Check]:
    """Whether labctl could write there: into the folder, or into the nearest one above that exists."""
    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return [Check(variable, is_ok=True, seen=f"{folder} can be written")]
    return [Check(variable, is_ok=False, seen=f"{folder}: {place} cannot be written", fix=_OWN_FOLDERS)]


def _clock() -> Check:
    for problem in clock.check(paths.LabPaths("lab"), None, bundle.find(DEFAULT_KUBERNETES)):
        return Check("clock", is_ok=False, seen=problem.text, fix=problem.hint)
    return Check("clock", is_ok=True, seen=f"{state.now()}, not before what labctl wrote here")


def _bundle() -> Check:
    try:
        cached = bundle.find(DEFAULT_KUBERNETES)
        if cached:
            return Check("bundle", is_ok=True, seen=f"Kubernetes {DEFAULT_KUBERNETES} is cached in {cached.path}")
        bundle.check_prerequisites(DEFAULT_KUBERNETES)
    except LabError as error:
        return Check("bundle", is_ok=False, seen=error.message, fix=error.hint)
    return Check("bundle", is_ok=True, seen="not cached; labctl up downloads it, or builds it from source")


def _base(engine: Engine) -> Check:
    if engine.is_installed() and engine.has_image(rootfs.reference()):
        return Check("base image", is_ok=True, seen="cached")
    if shutil.which("mmdebstrap"):
        return Check("base image", is_ok=True, seen=f"from {rootfs.UPSTREAM_IMAGE}, else by mmdebstrap")
    return Check("base image", is_ok=True, seen=f"from {rootfs.UPSTREAM_IMAGE}; without a registry it needs mmdebstrap")


def _restart(engine: Engine) -> Check:
    """No lab needs it: so it is said, and not wrong."""
    fix = rootless.ends_with_the_session()
    if fix:
        return Check("host restart", is_ok=True, seen=f"labs go off when you log out ({fix} keeps them)")
    unit = _RESTARTER[engine.name]
    has_systemd = process.has("systemctl")
    if has_systemd and process.run(["systemctl", "is-enabled", unit], check=False).code == 0:
        return Check("host restart", is_ok=True, seen=f"labs come back by themselves: {unit} is enabled")
    how = f"sudo systemctl enable {unit}" if has_systemd else "nothing here starts them"
    return Check("host restart", is_ok=True, seen=f"labs stay off until labctl start ({how})")
