"""The lab's record: what cannot be observed again. Truth about machines comes from the provider."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from labctl import paths
from labctl.config import LabConfig
from labctl.errors import StateError, UsageError, command_for

SCHEMA = 1
_FREE = (
    "hello_world",
    "cni_manifest",
    "bundle",
    "images",
    "registry_mirrors",
    "proxy",
    "ca_certificates",
    "node",
    "nodes",
    "ssh",
    "consent",
    "power",
    "inventory",
    "leave_alone",
    "hosts",
)
"""Keys that may change on a lab that exists; of node and nodes, labels and taints; of hosts, how they are reached."""
_GLANCE_S = 0.2
"""`is_locked` holds a lock for much less."""


class LabRecord(BaseModel):
    """lab.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    created: str
    config: LabConfig
    bundle: str
    """Folder of the bundle that the lab was made from."""
    has_egress: bool = False
    """Whether mirrors, proxies or certificate authorities were ever set up."""


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write `path` as a whole or not at all, with `mode`; its folder is made, mode 0700."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def make_private(folder: Path) -> None:
    """Make `folder`, mode 0700, and the one above it.

    Raises `StateError` if that lies where everybody may write and is somebody else's: a socket that they made there
    could lead to a machine of theirs.
    """
    above = folder.parent
    above.mkdir(parents=True, exist_ok=True, mode=0o700)
    seen = above.lstat()
    is_own = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o022
    if above.parent.stat().st_mode & stat.S_IWOTH and not is_own:
        raise StateError(f"{above} is not yours alone", "remove it, or let XDG_RUNTIME_DIR name a folder of your own")
    folder.mkdir(exist_ok=True, mode=0o700)


def save(record: LabRecord) -> None:
    """Write the record of `record.config.name`."""
    lab = paths.LabPaths(record.config.name)
    write_file(lab.record, record.model_dump_json(indent=2) + "\n")
    lab.folder.chmod(0o700)


def find(name: str) -> LabRecord | None:
    """The record of the lab `name`, or None. Raises `StateError` if it cannot be understood."""
    path = paths.LabPaths(name).record
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error}") from error
    down = f"{command_for(name, 'down')} removes the lab"
    try:
        # The version first: a newer record may have keys that are unknown here.
        version = json.loads(text)["schema_version"]
        if version > SCHEMA:
            raise StateError(f"{path} is from a newer labctl (schema {version}, here {SCHEMA})", f"use that; or {down}")
        return LabRecord.model_validate_json(text)
    except (ValueError, LookupError, TypeError) as error:
        raise StateError(f"{path} was not written by this labctl, or is damaged", down) from error


def get(name: str) -> LabRecord:
    """The record of the lab `name`. Raises `UsageError` if there is none."""
    record = find(name)
    if record is None:
        others = ", ".join(paths.lab_names())
        raise UsageError(
            f"there is no lab {name}" + (f"; there are: {others}" if others else ""),
            f"{command_for(name, 'up')} makes it",
        )
    return record


def forget(name: str) -> None:
    """Remove the lab's folder, machines' disks included."""
    folder = paths.LabPaths(name).folder
    if folder.exists():
        # A rename first: whoever is killed in the middle leaves no half of a lab under its name.
        doomed = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".removed-"))
        folder.rename(doomed / name)
    for doomed in folder.parent.glob(".removed-*"):
        shutil.rmtree(doomed, ignore_errors=True)


def is_locked(name: str) -> bool:
    """Whether a command that lives is at work on the lab `name`. Writes nothing."""
    try:
        file = paths.LabPaths(name).lock.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lab `name` for one command. Raises `StateError` at once if another command holds it."""
    path = paths.LabPaths(name).lock
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = FileLock(path)
    try:
        held.acquire(timeout=_GLANCE_S)
    except Timeout as error:
        raise StateError(
            f"another labctl command is at work on the lab {name} (it holds {path})",
            "wait for it, or use another --lab",
        ) from error
    try:
        yield
    finally:
        if not paths.LabPaths(name).folder.exists():
            path.unlink(missing_ok=True)  # whoever opened it meanwhile finds that it has no name, and opens anew
        held.release()


def new_run(command: str, lab: str) -> Path:
    """A fresh folder for one run of `command`; ``latest`` points to it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    folder = paths.runs() / f"{stamp}Z-{command}-{lab}"
    folder.mkdir(parents=True, mode=0o700)
    link = paths.runs() / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(paths.runs() / "latest")
    return folder


def refuse_other_lab(record: LabRecord | None, config: LabConfig) -> None:
    """Raise `UsageError` if the lab exists and `config` asks for what cannot be changed in place."""
    if record is None:
        return
    before, after = record.config.model_dump(mode="json"), config.model_dump(mode="json")
    fixed = {key: (before[key], after[key]) for key in before if key not in _FREE and before[key] != after[key]}
    for name in record.config.machine_names:
        old, new = record.config.machine(name).made_of, config.machine(name).made_of
        if name in config.machine_names:
            fixed |= {f"{key} of {name}": (old[key], new[key]) for key in old if old[key] != new[key]}
    fixed |= _moved(record.config, config)
    # From 0 on it is another kind of lab: then the control plane would have to stop running pods.
    if config.workers > record.config.workers > 0:
        fixed.pop("workers", None)
    if fixed:
        words = "; ".join(f"{key} is {was}, asked for {want}" for key, (was, want) in fixed.items())
        raise UsageError(
            f"the lab {config.name} exists and cannot be changed in place: {words}",
            f"{command_for(config.name, 'down')}, then up; or give the new lab another name",
        )


def _moved(before: LabConfig, after: LabConfig) -> dict[str, tuple[object, object]]:
    """Hosts that became other machines, or are not named any longer: what of each was, and what is asked for."""
    gone: dict[str, tuple[object, object]] = {
        f"host {name}": (host.address, "none") for name, host in before.hosts.items() if name not in after.hosts
    }
    both = [(name, before.hosts[name], after.hosts[name]) for name in before.hosts if name in after.hosts]
    return gone | {
        f"{key} of {name}": (getattr(old, key), getattr(new, key))
        for name, old, new in both
        for key in ("role", "node_address", "node_second_address", "pod_subnet", "second_pod_subnet")
        if getattr(old, key) != getattr(new, key)
    }
