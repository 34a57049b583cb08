"""What `labctl doctor` looks at: engine, limits, space, memory, and how a bundle could be had."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from labctl import bundle, clock, paths, process, state
from labctl.config import DEFAULT_KUBERNETES, LabConfig
from labctl.errors import LabError
from labctl.providers import engines, host, needs, preflight, rootfs
from labctl.providers.engine import DOCKER, PODMAN, Engine

_RESTARTER = {PODMAN: "podman-restart.service", DOCKER: "docker.service"}
"""What starts machines when the host starts."""


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
    problems = preflight.check(engine)
    checks = [Check("machines", is_ok=False, seen=problem.text, fix=problem.hint) for problem in problems]
    if not problems:
        names = " and ".join(engine.name for engine in engines.working())
        checks.append(Check("machines", is_ok=True, seen=f"{names} on cgroup v{host.look().cgroup}"))
    is_baked = any(paths.node_images().glob("*/var"))
    wanted = needs.look(LabConfig(), engine, running=0, is_baked=is_baked)
    checks += [Check(need.name, need.is_met, str(need), "" if need.is_met else need.fix) for need in wanted]
    return [*checks, _clock(), _bundle(), _base(engine), _restart(engine)]


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
    unit = _RESTARTER[engine.name]
    has_systemd = process.has("systemctl")
    if has_systemd and process.run(["systemctl", "is-enabled", unit], check=False).code == 0:
        return Check("host restart", is_ok=True, seen=f"labs come back by themselves: {unit} is enabled")
    how = f"sudo systemctl enable {unit}" if has_systemd else "nothing here starts them"
    return Check("host restart", is_ok=True, seen=f"labs stay off until labctl start ({how})")
