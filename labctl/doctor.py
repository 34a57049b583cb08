"""What `labctl doctor` looks at: what every lab needs of this machine, and what each kind of provider does."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from labctl import bundle, clock, config, paths, process, state
from labctl.config import DEFAULT_KUBERNETES, LabConfig
from labctl.errors import LabError
from labctl.providers import engines, host, needs, preflight, rootfs, rootless
from labctl.providers.engine import DOCKER, PODMAN, Engine

_RESTARTER = {PODMAN: "podman-restart.service", DOCKER: "docker.service"}
"""What starts machines when the host starts."""
_OWN_FOLDERS = "let HOME, or LABCTL_HOME and XDG_CACHE_HOME, name folders that are yours to write"


Kind = Literal["", "containers", "hosts"]
"""What needs it: every lab, or those whose machines are containers, or are there already."""
Looks = dict[str, Callable[[], list["Check"]]]


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was `seen`, and the command that mends it if it is not ok."""

    name: str
    is_ok: bool
    seen: str
    fix: str = ""
    needed_by: Kind = ""


def examine() -> list[Check]:
    """All checks, for a lab of the default size; none of them changes anything."""
    kinds: dict[Kind, Looks] = {"": _always(), "containers": _containers(), "hosts": _hosts()}
    return [
        replace(check, needed_by=kind)
        for kind, looks in kinds.items()
        for name, look in looks.items()
        for check in _whatever_happens(name, look)
    ]


def asked_for() -> Kind:
    """The kind of machines that labctl.yml of the current directory asks for; by default containers."""
    with suppress(LabError):  # whoever uses it says what is wrong with it
        return "hosts" if config.load(None, {}).provider == "hosts" else "containers"
    return "containers"


def _always() -> Looks:
    return {
        "LABCTL_HOME": partial(_folder, "LABCTL_HOME", paths.home()),
        "XDG_CACHE_HOME": partial(_folder, "XDG_CACHE_HOME", paths.cache()),
        "clock": lambda: [_clock()],
        "bundle": lambda: [_bundle()],
        "ssh": lambda: [_ssh()],
        "ansible": lambda: [_ansible()],
    }


def _containers() -> Looks:
    if elsewhere := host.why_not():
        return {"machines": lambda: [Check("machines", is_ok=False, seen=elsewhere, fix=rootless.USE_HOSTS)]}
    engine = engines.first_working()
    return {
        "machines": partial(_machines, engine),
        "room": partial(_room, engine),
        "base image": lambda: [_base(engine)],
        "host restart": lambda: [_restart(engine)],
    }


def _hosts() -> Looks:
    """Of this machine no more than ssh and Ansible; what the others must have is only said: `labctl up` looks there."""
    seen = "of yours, each with Linux (README says which), sshd, python3, and root or sudo without a password"
    return {
        "hosts": lambda: [Check("hosts", is_ok=True, seen=seen)],
        "kubectl": lambda: [_kubectl()],
        "power": lambda: [_power()],
    }


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
        if sys.platform != "linux":
            return Check(
                "bundle", is_ok=True, seen="not cached: it is downloaded when it is needed (only Linux builds one)"
            )
        bundle.check_prerequisites(DEFAULT_KUBERNETES)
    except LabError as error:
        return Check("bundle", is_ok=False, seen=error.message, fix=error.hint)
    return Check("bundle", is_ok=True, seen="not cached; labctl up downloads it, or builds it from source")


def _ssh() -> Check:
    if not process.has("ssh"):
        fix = "sudo apt-get install -y openssh-client"
        return Check("ssh", is_ok=False, seen="the program ssh is not installed", fix=fix)
    return Check("ssh", is_ok=True, seen=process.run(["ssh", "-V"], check=False).stderr.strip())


def _ansible() -> Check:
    """The program, beside this Python or in PATH; the library is there, or labctl would not run."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    found, core = shutil.which("ansible-playbook", path=beside), version("ansible-core")
    if found:
        return Check("ansible", is_ok=True, seen=f"ansible-core {core}, {found}")
    fix = f"{sys.executable} -m pip install --force-reinstall ansible-core=={core}"
    return Check("ansible", is_ok=False, seen="the program ansible-playbook is not beside this Python", fix=fix)


def _kubectl() -> Check:
    """Only `labctl kubectl` and `labctl logs` start one."""
    if sys.platform == "linux":
        return Check("kubectl", is_ok=True, seen="the lab's own, if the machines have this machine's architecture")
    if process.has("kubectl"):
        return Check("kubectl", is_ok=True, seen="the one in PATH: the lab's own is for Linux")
    return Check("kubectl", is_ok=True, seen="none in PATH, and the lab's own is for Linux; nothing else asks for one")


def _power() -> Check:
    """Drills that cut the power need it; nothing else does."""
    has_sushy = find_spec("sushy") is not None
    bmcs = f"sushy {version('sushy')}" if has_sushy else f"{sys.executable} -m pip install 'labctl[redfish]'"
    return Check("power", is_ok=True, seen=f"by commands of yours, or by BMCs ({bmcs})")


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
