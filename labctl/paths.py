"""Every path that labctl reads or writes. Nobody else joins path strings. docs/files.md documents them."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parent
_SOCKET_ROOM = 104 - 1 - 58
"""What macOS has for a socket's path (Linux: 108), less its last 0, less /%C and the suffix that ssh adds meanwhile."""


def _project() -> Path:
    """Where playbooks/ and roles/ are: inside the installed package, else the checkout around it."""
    inside = _PACKAGE / "_project"
    return inside if inside.is_dir() else _PACKAGE.parent


def playbooks() -> Path:
    """The folder of playbooks."""
    return _project() / "playbooks"


def playbook(name: str) -> Path:
    """The playbook `name`, such as ``up.yml``."""
    return playbooks() / name


def fault_script(name: str) -> Path:
    """The shell script that does the fault `name` to a machine it runs on, without what all faults share."""
    return playbooks() / "faults" / "scripts" / f"{name}.sh"


def fault_lib() -> Path:
    """What all faults share; stands before each script."""
    return playbooks() / "faults" / "lib.sh"


def modules() -> Path:
    """The folder of the playbooks' own Ansible modules."""
    return playbooks() / "library"


def roles() -> Path:
    """The folder of Ansible roles."""
    return _project() / "roles"


def vagrantfile() -> Path:
    """What makes virtual machines, for labctl and for `vagrant up` by hand."""
    return _project() / "Vagrantfile"


def checks() -> list[Path]:
    """The folders of `labctl verify`'s tests: of nodes, and of the cluster."""
    return [_project() / "tests" / "nodes", _project() / "tests" / "cluster"]


def ansible_config() -> Path:
    """The ansible.cfg that labctl and a person with ansible-playbook share."""
    return _project() / "ansible.cfg"


def home() -> Path:
    """LABCTL_HOME, or the user's data directory."""
    override = os.environ.get("LABCTL_HOME")
    return Path(override).expanduser().absolute() if override else Path(platformdirs.user_data_dir("labctl"))


def cache() -> Path:
    """Rebuildable things: bundles, node images. XDG_CACHE_HOME moves it."""
    return Path(platformdirs.user_cache_dir("labctl"))


def bundles() -> Path:
    """Finished bundles, one folder a content hash."""
    return cache() / "bundles"


def builds() -> Path:
    """Programs built from source, one folder a program and content hash."""
    return cache() / "builds"


def downloads() -> Path:
    """Files on their way into a bundle, each named by its SHA-256."""
    return cache() / "downloads"


def node_images() -> Path:
    """The shared parts of baked machines, one folder a content hash."""
    return cache() / "nodes"


def runs() -> Path:
    """One folder a run of `up`, `drill` and so on."""
    return home() / "runs"


def ssh_control(folder: Path) -> Path:
    """Folder of the SSH control sockets of the lab in `folder`; `state.make_private` makes it.

    Short, for a socket's path is, and without a blank, for it is a word among ssh's options. A home on macOS is neither
    (``Library/Application Support``), and one on Linux is too long where there is no runtime directory: then in /tmp.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    system = "/run" if os.geteuid() == 0 and sys.platform == "linux" else ""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), system, str(home())):
        found = f"{place}/labctl/{name}"
        if place and len(found) <= _SOCKET_ROOM and re.fullmatch(r"[-\w/.+]+", found):
            return Path(found)
    return Path(f"/tmp/labctl-{os.geteuid()}") / name  # noqa: S108 (make_private sees whose it is)


def for_ssh(file: Path | str) -> str:
    """`file` in an option of ssh that takes several files: in quotes, for a blank would end it."""
    return f'"{file}"'


@dataclass(frozen=True)
class LabPaths:
    """The files of the lab `name`; all below one folder of mode 0700."""

    name: str

    @property
    def folder(self) -> Path:
        """All of the lab's files."""
        return home() / "labs" / self.name

    @property
    def lock(self) -> Path:
        """Held by the command at work on the lab."""
        return home() / "labs" / f"{self.name}.lock"

    @property
    def record(self) -> Path:
        """What cannot be observed again (`labctl.state`)."""
        return self.folder / "lab.json"

    @property
    def inventory(self) -> Path:
        """For labctl, ansible-playbook and testinfra alike."""
        return self.folder / "inventory.yml"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, mode 0600."""
        return self.folder / "kubeconfig"

    @property
    def ssh_key(self) -> Path:
        """The lab's own key, mode 0600."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The machines' host keys, known before the first connection."""
        return self.folder / "known_hosts"

    @property
    def journal(self) -> Path:
        """Faults that are not undone yet (`labctl.drill.journal`)."""
        return self.folder / "journal.jsonl"

    @property
    def vagrant_config(self) -> Path:
        """What the Vagrantfile reads of this lab."""
        return self.folder / "vagrant" / "labctl.yml"

    @property
    def vagrant_state(self) -> Path:
        """Where vagrant keeps what it made: ids and keys."""
        return self.folder / "vagrant" / "state"

    def vagrant_made(self, node: str) -> Path:
        """Whether a machine was made to its end: there when it was."""
        return self.folder / "vagrant" / "made" / node

    def vagrant_key(self, node: str, hypervisor: str) -> Path:
        """The private key that vagrant made for a machine."""
        return self.vagrant_state / "machines" / node / hypervisor / "private_key"

    def machine(self, node: str) -> Path:
        """The folder of one machine: its disk and its SSH host key."""
        return self.folder / "machines" / node

    def machine_names(self) -> list[str]:
        """Machines that have a folder here."""
        return sorted(path.name for path in (self.folder / "machines").glob("*"))


def lab_names() -> list[str]:
    """Labs that have a record in this LABCTL_HOME."""
    return sorted(path.parent.name for path in (home() / "labs").glob("*/lab.json"))
