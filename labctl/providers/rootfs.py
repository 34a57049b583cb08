"""The base image: a bare Debian with systemd, sshd and Python, before any role has run."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from labctl import paths, process
from labctl.errors import PrerequisiteError
from labctl.events import Emit, Progress
from labctl.providers import host
from labctl.providers.engine import Engine, label_words

SUITE = "trixie"
UPSTREAM_IMAGE = f"docker.io/library/debian:{SUITE}-slim"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "iproute2",
    "procps",
    "kmod",
    "ca-certificates",
)
_SETUP = Path(__file__).with_name("base_setup.sh")
_PULL_PATIENCE_S = 180


def key() -> str:
    """Changes whenever the base image would."""
    parts = (SUITE, UPSTREAM_IMAGE, *PACKAGES, _SETUP.read_text(encoding="utf-8"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def reference() -> str:
    """The base image's name in the engine's store."""
    return f"localhost/labctl/base:{key()}"


def ensure(engine: Engine, labels: dict[str, str], emit: Emit) -> str:
    """The base image's name; made from Debian's image where a registry answers, else with mmdebstrap."""
    if engine.has_image(reference()):
        return reference()
    raw = f"localhost/labctl/debian:{SUITE}"
    if not engine.has_image(raw):
        reason = _pull(engine, raw)
        if reason:
            emit(Progress(f"{UPSTREAM_IMAGE} cannot be had ({reason}): making Debian {SUITE} with mmdebstrap"))
            _bootstrap(engine, raw)
    builder = f"labctl-base-{key()}"
    engine.remove([builder])
    try:
        engine(
            *("run", *host.run_arguments(host.look()), "--name", builder),
            *("--network", "host", "--security-opt", "seccomp=unconfined"),
            *label_words(labels),
            *("--env", "PACKAGES=" + " ".join(PACKAGES), "--volume", f"{_SETUP}:/base_setup.sh:ro"),
            *(raw, "sh", "/base_setup.sh"),
        )
        engine.commit(builder, reference(), 'CMD ["/sbin/init"]', "LABEL labctl=base")
    finally:
        engine.remove([builder])
    return reference()


def _pull(engine: Engine, raw: str) -> str:
    """Pull Debian's image and name it `raw`; otherwise the reason in one line."""
    try:
        done = process.run([engine.name, "pull", "--quiet", UPSTREAM_IMAGE], check=False, timeout_s=_PULL_PATIENCE_S)
    except process.TimeoutExpired:
        return f"no answer in {_PULL_PATIENCE_S} s"
    if done.code != 0:
        return done.stderr.strip().splitlines()[-1].rpartition(": ")[2] if done.stderr.strip() else "pull failed"
    engine("tag", UPSTREAM_IMAGE, raw)
    return ""


def _bootstrap(engine: Engine, raw: str) -> None:
    if not process.has("mmdebstrap"):
        raise PrerequisiteError(
            f"neither {UPSTREAM_IMAGE} can be pulled nor is mmdebstrap installed", "sudo apt-get install -y mmdebstrap"
        )
    paths.cache().mkdir(parents=True, exist_ok=True)
    for left in paths.cache().glob("rootfs-*"):  # by one that was killed; the caller holds a lock
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=paths.cache(), prefix="rootfs-"))
    try:
        archive = folder / "rootfs.tar"
        process.run(
            [
                *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                *("--aptopt=APT::Install-Recommends false", SUITE, archive),
            ]
        )
        engine("import", archive, raw)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
