#!/usr/bin/python
"""An Ansible module: notes what a machine is before it is changed, so that node_restore can give it back like that."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: node_manifest
short_description: Notes what a machine is before it is changed
description:
  - Writes /var/lib/labctl-node/manifest.json, and copies of what will be overwritten beside it. What was noted once
    stays as it was noted; what is new is added. A lab's name is noted too, and a machine of another lab is refused.
options:
  lab:
    description: The lab that the machine is to be part of. Empty for any, as of an image from which machines are made.
    type: str
    required: true
  paths:
    description: Files, folders and links that are about to be made or changed.
    type: list
    elements: path
    default: []
  sysctls:
    description: Settings of the kernel, as paths below /proc/sys; a star stands for any name.
    type: list
    elements: str
    default: []
  users:
    description: Users that are about to be made.
    type: list
    elements: str
    default: []
  modules:
    description: Kernel modules that are about to be loaded.
    type: list
    elements: str
    default: []
  ufw:
    description: Rules that are about to be added to ufw, as words for it.
    type: list
    elements: str
    default: []
  firewalld:
    description: What is about to be added to firewalld for good, as words for firewall-cmd.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: labctl
"""

EXAMPLES = r"""
- name: Note what the machine is
  node_manifest:
    lab: three
    paths: [/etc/labctl]
    sysctls: [net/ipv4/ip_forward]
"""

FOLDER = Path("/var/lib/labctl-node")
SYS = Path("/proc/sys")
MOUNTS = Path("/proc/self/mountinfo")
SWAPS = Path("/proc/swaps")
LOADED = Path("/proc/modules")
OWN = Path("/etc/labctl")
SCHEMA = 1
SAVED_AT_MOST = 200 * 1024**2
LISTS = ("paths", "sysctls", "users", "modules", "ufw", "firewalld")


def main() -> None:
    """Note what is not noted yet."""
    kinds = {name: "path" if name == "paths" else "str" for name in LISTS}
    options = {name: {"type": "list", "elements": kind, "default": []} for name, kind in kinds.items()}
    module = AnsibleModule(
        argument_spec={"lab": {"type": "str", "required": True}, **options}, supports_check_mode=True
    )
    manifest = read()
    if manifest and manifest["lab"] not in ("", module.params["lab"]):
        whose = f"one of the lab {manifest['lab']}, not of {module.params['lab']}"
        module.fail_json(msg=f"This machine is {whose}: playbooks/reset.yml with that lab's inventory frees it.")
    noted = json.dumps(manifest, sort_keys=True)
    manifest = manifest or first(module.params["lab"])
    # What labctl wrote before it kept manifests cannot be told from what was there: it is taken for labctl's.
    is_late = manifest["late"]
    for path in [*module.params["paths"], *homes()]:
        if path not in manifest["paths"]:
            manifest["paths"][path] = None if is_late else look(Path(path), save=not module.check_mode)
    for pattern in module.params["sysctls"]:
        # Once: interfaces that come later are pods'.
        if pattern not in manifest["patterns"]:
            manifest["patterns"].append(pattern)
            manifest["sysctls"] |= {str(file.relative_to(SYS)): value(file) for file in sorted(SYS.glob(pattern))}
    for user in module.params["users"]:
        manifest["users"].setdefault(user, is_user(user))
    for name in module.params["modules"]:
        manifest["modules"].setdefault(name, f"\n{name} " in f"\n{value(LOADED)}")
    note_firewalls(module, manifest)
    is_new = json.dumps(manifest, sort_keys=True) != noted
    if is_new and not module.check_mode:
        write(manifest)
    module.exit_json(changed=is_new)


def first(lab: str) -> dict[str, Any]:
    """A manifest with what is looked at once, as a whole."""
    mounts = [line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    root = next((mount for mount in reversed(mounts) if mount[4] == "/"), [])
    return {
        "schema": SCHEMA,
        "lab": lab,
        "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "late": OWN.exists(),
        "mounts": [mount[4] for mount in mounts],
        "is_shared": any(word.startswith("shared:") for word in root[6:]),
        "swaps": [line.split()[0] for line in (value(SWAPS) or "").splitlines()[1:]],
        "selinux": enforcing(),
        "paths": {},
        "patterns": [],
        "sysctls": {},
        "users": {},
        "modules": {},
        "packages": {"added": [], "upgraded": []},
        "ufw": {"before": None, "added": []},
        "firewalld": {"before": None, "added": []},
    }


def homes() -> list[str]:
    """Where Ansible keeps its temporary files: of root, and of the user who became root."""
    names = {"root", os.environ.get("SUDO_USER") or "root"}
    return [f"{pwd.getpwnam(name).pw_dir}/.ansible" for name in sorted(names) if is_user(name)]


def is_user(name: str) -> bool:
    """Whether there is such a user."""
    return any(entry.pw_name == name for entry in pwd.getpwall())


def enforcing() -> bool:
    """Whether SELinux refuses."""
    try:
        return Path("/sys/fs/selinux/enforce").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def value(file: Path) -> str | None:
    """What the kernel says; some settings cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def look(path: Path, *, save: bool) -> dict[str, Any] | None:
    """What `path` is now, None for nothing; a copy of it is kept, so far as it is not too large."""
    if not os.path.lexists(path):
        return None
    kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
    is_small = size(path) <= SAVED_AT_MOST
    copy = FOLDER / "saved" / str(path).lstrip("/")
    if save and is_small:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keep(path, copy)
    return {"kind": kind, "saved": str(copy) if is_small else None}


def size(path: Path) -> int:
    """Bytes of all files."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*"))


def keep(path: Path, copy: Path) -> None:
    """Copy with owners, modes and times."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, copy, symlinks=True, dirs_exist_ok=True)
        pairs = [(path, copy), *((inner, copy / inner.relative_to(path)) for inner in path.rglob("*"))]
    else:
        shutil.copy2(path, copy, follow_symlinks=False)
        pairs = [(path, copy)]
    for old, new in pairs:
        seen = old.lstat()
        os.chown(new, seen.st_uid, seen.st_gid, follow_symlinks=False)


def note_firewalls(module: AnsibleModule, manifest: dict[str, Any]) -> None:
    """What ufw and firewalld hold before the first rule is added, and which rules will be."""
    if module.params["ufw"] and manifest["ufw"]["before"] is None:
        manifest["ufw"]["before"] = words(module, "ufw", "show", "added")[1:]
    if module.params["firewalld"] and manifest["firewalld"]["before"] is None:
        permanent = ("firewall-cmd", "--permanent")
        ports = " ".join(words(module, *permanent, "--list-ports")).split()
        sources = " ".join(words(module, *permanent, "--zone=trusted", "--list-sources")).split()
        manifest["firewalld"]["before"] = [
            *(f"--add-port={port}" for port in ports),
            *(f"--zone=trusted --add-source={source}" for source in sources),
        ]
    for name in ("ufw", "firewalld"):
        known = manifest[name]["added"]
        known += [rule for rule in module.params[name] if rule not in known]


def words(module: AnsibleModule, *argv: str) -> list[str]:
    """Lines that a program prints."""
    code, out, _ = module.run_command(list(argv), environ_update={"LC_ALL": "C.UTF-8"})
    return out.splitlines() if code == 0 else []


def read() -> dict[str, Any]:
    """The manifest; empty if there is none."""
    try:
        found: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def write(manifest: dict[str, Any]) -> None:
    """As a whole or not at all, and on the disk before anything else happens."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = FOLDER / "manifest.json.new"
    with temporary.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(FOLDER / "manifest.json")


if __name__ == "__main__":
    main()
