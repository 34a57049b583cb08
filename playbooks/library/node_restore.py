#!/usr/bin/python
"""An Ansible module: gives a machine back as its manifest says that it was found."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: node_restore
short_description: Gives a machine back as it was found
description:
  - Ends all containers, and undoes what the machine's manifest says of files, units, settings of the kernel, swap,
    firewalls, users and packages. Without a manifest there is nothing to do. What cannot be undone fails, by name; the
    manifest goes last, so that the same again takes up where it stopped.
options:
  lab:
    description: The lab that the machine must be of.
    type: str
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: labctl
"""

EXAMPLES = r"""
- name: Give the machine back
  node_restore:
    lab: three
"""

FOLDER = Path("/var/lib/labctl-node")
SYS = Path("/proc/sys")
CGROUPS = Path("/sys/fs/cgroup")
EDITED = {
    Path("/etc/fstab"): (r"^# turned off by labctl: ", ""),
    Path("/etc/selinux/config"): (r"^SELINUX=permissive$", "SELINUX=enforcing"),
}
"""Files of somebody else's that labctl edits: what it wrote, and what was there. Not undone if it was there before."""
AUTHORITIES = Path("/usr/local/share/ca-certificates/labctl")
SCRIPT = Path("/etc/labctl/network")
UNITS = ("kubelet.service", "containerd.service", "labctl-network.service", "labctl-node.service")
"""In this order: the kubelet would start containers again."""
OWN_MOUNTS = ("/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/run/netns", "/run/labctl", "/var/lib/cni")
TABLES = ("labctl", "kube-proxy", "cni_hostport")
"""Of nftables: labctl's, kube-proxy's, and the CNI plugin portmap's."""
MANAGERS = (
    (("NetworkManager.service", "reload"), Path("/etc/NetworkManager/conf.d/labctl.conf")),
    (("systemd-networkd.service", "restart"), Path("/etc/systemd/networkd.conf.d/labctl.conf")),
)
"""Network managers that must take notice when a file goes."""
ENDS_WITHIN_S = 30
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def main() -> None:
    """Undo everything, or say what would be undone."""
    module = AnsibleModule(argument_spec={"lab": {"type": "str", "required": True}}, supports_check_mode=True)
    file = FOLDER / "manifest.json"
    if not file.exists():
        module.exit_json(changed=False, msg="nothing of labctl's is here")
    manifest = json.loads(file.read_text(encoding="utf-8"))
    if manifest["lab"] not in ("", module.params["lab"]):
        lab = manifest["lab"]
        module.fail_json(msg=f"This machine is one of the lab {lab}, not of {module.params['lab']}: it is left alone.")
    diff = {"before": "".join(f"{line}\n" for line in sorted(words_for(manifest))), "after": ""}
    if module.check_mode:
        module.exit_json(changed=True, diff=diff)
    left = Restoration(module, manifest).run()
    if left:
        module.fail_json(msg="\n".join(["This stays, the rest is undone:", *left]))
    shutil.rmtree(FOLDER)
    module.exit_json(changed=True, diff=diff, kept=manifest["packages"]["upgraded"])


def words_for(manifest: dict[str, Any]) -> Iterator[str]:
    """A line for each thing that is undone."""
    for path, was in manifest["paths"].items():
        if os.path.lexists(path):
            yield f"{path}: {'as it was' if was else 'removed'}"
    for name in manifest["packages"]["added"]:
        yield f"package {name}: removed"
    for name, was in manifest["users"].items():
        if not was:
            yield f"user {name}: removed"
    for name in ("ufw", "firewalld"):
        for rule in manifest[name]["added"]:
            yield f"{name} {rule}: removed, unless it was there before"


class Restoration:
    """One machine on its way back. Each step may be done again."""

    def __init__(self, module: AnsibleModule, manifest: dict[str, Any]) -> None:
        self.module = module
        self.manifest = manifest
        self.left: list[str] = []

    def run(self) -> list[str]:
        """Do all steps; returns a sentence for each thing that could not be undone."""
        self.stop_units()
        self.end_containers()
        self.unmount()
        self.forget_routes()
        self.forget_tables()
        self.close_firewalls()
        has_authorities = AUTHORITIES.exists()
        managers = [words for words, file in MANAGERS if file.exists()]
        for path, was in sorted(self.manifest["paths"].items(), reverse=True):
            self.put_back(Path(path), was)
        if has_authorities:
            self("update-ca-certificates", "--fresh")
        self("systemctl", "daemon-reload")
        self("systemctl", "reset-failed", *UNITS)
        for unit, verb in managers:
            if self("systemctl", "is-active", "--quiet", unit)[0] == 0:
                self("systemctl", verb, unit)
        self.set_kernel()
        self.use_swap()
        self.enforce()
        self.remove_users()
        self.remove_packages()
        return self.left

    def __call__(self, *argv: str, stdin: str | None = None) -> tuple[int, str]:
        """The exit code and the output of a program; one that is not there fails."""
        if shutil.which(argv[0]) is None:
            return 127, ""
        code, out, err = self.module.run_command(list(argv), data=stdin, environ_update=QUIET)
        return code, out or err

    def stop_units(self) -> None:
        """Stop what labctl's units run, the timers of drills too."""
        self("systemctl", "stop", "labctl-undo-*.timer", "labctl-undo-*.service")
        for unit in UNITS:
            if unit == "containerd.service":  # it leaves containers and their shims alone when it stops
                self("systemctl", "kill", "--kill-who=all", "--signal=KILL", unit)
            self("systemctl", "stop", unit)

    def end_containers(self) -> None:
        """Kill what is in the kubelet's control groups, wait for the end of it, and remove the groups."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (alive := pods_processes()) and time.monotonic() < deadline:
            for process in alive:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)
        if alive:
            self.left.append(f"processes of pods: {', '.join(map(str, sorted(alive)))}")
        for group in sorted(pods_groups(), reverse=True):
            with suppress(OSError):
                group.rmdir()

    def unmount(self) -> None:
        """Take away the mounts of pods, containers and labctl's units; the last one first."""
        for at in reversed(mounts()):
            if at not in self.manifest["mounts"] and is_below(at, OWN_MOUNTS):
                code, _ = self("umount", at)
                if code != 0:
                    self("umount", "--lazy", at)
        if not self.manifest["is_shared"]:
            self("mount", "--make-rprivate", "/")

    def forget_routes(self) -> None:
        """Take away the routes to other machines' pods; those of this one's went with its pods."""
        text = SCRIPT.read_text(encoding="utf-8") if SCRIPT.exists() else ""
        for subnet, gateway in re.findall(r"^ip route replace (\S+) via (\S+)$", text, re.MULTILINE):
            self("ip", "route", "del", subnet, "via", gateway)

    def forget_tables(self) -> None:
        """Take away the tables of nftables, and the kubelet's chains of iptables where that is installed."""
        code, said = self("nft", "list", "tables")
        if code not in (0, 127):  # 127: there is none
            self.left.append(f"tables of nftables: nft list tables failed ({code}) {said.strip()}")
        for family, name in re.findall(r"^table (\S+) (\S+)$", said, re.MULTILINE):
            if name in TABLES and self("nft", "delete", "table", family, name)[0] != 0:
                self.left.append(f"the table {family} {name} of nftables")
        for program in ("iptables", "ip6tables"):
            _, rules = self(f"{program}-save")
            if "KUBE-" in rules:
                own = re.compile(r"^(:KUBE-|-A .*\bKUBE-)")
                kept = "".join(f"{line}\n" for line in rules.splitlines() if not own.match(line))
                self(f"{program}-restore", stdin=kept)

    def close_firewalls(self) -> None:
        """Take away the rules that were added, and add those again which were there before."""
        ufw, firewalld = self.manifest["ufw"], self.manifest["firewalld"]
        for rule in ufw["added"]:
            route, _, rest = rule.rpartition("route ")
            self("ufw", *([route + "route", "delete"] if "route " in rule else ["delete"]), *rest.split())
        _, now = self("ufw", "show", "added") if ufw["added"] else (0, "")
        for line in ufw["before"] or []:
            if line.startswith("ufw ") and line not in now.splitlines():
                self(*line.split())
        if not firewalld["added"]:
            return
        runs = self("firewall-cmd", "--state")[0] == 0
        for rule in firewalld["added"]:
            if rule not in (firewalld["before"] or []):
                words = ["firewall-cmd", "--permanent"] if runs else ["firewall-offline-cmd"]
                self(*words, *rule.replace("--add-", "--remove-").split())
        if runs:
            self("firewall-cmd", "--reload")

    def put_back(self, path: Path, was: dict[str, Any] | None) -> None:
        """Make a path what it was: nothing, or the copy that was kept."""
        if path in EDITED:
            if was is not None and os.path.lexists(path):
                undo_edit(path, Path(was["saved"]).read_text(encoding="utf-8"))
            return
        if was is not None and was["saved"] is None:
            self.left.append(f"{path}: it was there before, and too large for a copy")
            return
        # A pod may have had a disk of somebody's below the kubelet's folder: nothing of that is removed.
        if busy := [at for at in mounts() if is_below(at, (str(path),))]:
            self.left.append(f"{path}: {busy[0]} is still mounted there")
            return
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if was is not None:
                bring(Path(was["saved"]), path)
        except OSError as error:
            self.left.append(f"{path}: {error}")

    def set_kernel(self) -> None:
        """Write the settings that differ; forwarding first, for others follow it. A container's host keeps its own."""
        settings = self.manifest["sysctls"]
        is_container = self("systemd-detect-virt", "--container", "--quiet")[0] == 0
        for name in sorted(settings, key=lambda name: (name != "net/ipv4/ip_forward", name)):
            file = SYS / name
            if settings[name] is None or (is_container and not name.startswith("net/")):
                continue
            with suppress(OSError):  # some can only be read here, and some went with their interface
                if file.read_text(encoding="utf-8").strip() != settings[name]:
                    file.write_text(settings[name], encoding="utf-8")
        for name, was_loaded in self.manifest["modules"].items():
            if not was_loaded and not is_container:
                self("modprobe", "--remove", name)  # one that is in use stays until the next start

    def use_swap(self) -> None:
        """What was in use is in use again."""
        for device in self.manifest["swaps"]:
            self("swapon", device)

    def enforce(self) -> None:
        """SELinux refuses again, if it did."""
        if self.manifest["selinux"]:
            self("setenforce", "1")

    def remove_users(self) -> None:
        """Those that were made."""
        known = {entry.pw_name for entry in pwd.getpwall()}
        for user, was in self.manifest["users"].items():
            if not was and user in known and self("userdel", user)[0] != 0:
                self.left.append(f"the user {user}")

    def remove_packages(self) -> None:
        """Those that came, but for what something else needs by now."""
        _, said = self("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n")
        there = {line.partition(" ")[0] for line in said.splitlines() if line.endswith((" installed", " config-files"))}
        ours = [name for name in self.manifest["packages"]["added"] if name.partition(":")[0] in there]
        ours = [name for name in ours if self.takes(name) <= {each.partition(":")[0] for each in ours}]
        if ours:
            code, said = self("apt-get", "purge", "--yes", "-o", "DPkg::Lock::Timeout=300", *ours)
            if code != 0:
                self.left.append(f"packages {' '.join(ours)}: {said.strip()[-500:]}")

    def takes(self, name: str) -> set[str]:
        """What would go with the package `name`."""
        _, said = self("apt-get", "purge", "--yes", "--simulate", name)
        return set(re.findall(r"^(?:Remv|Purg) ([^\s:]+)", said, re.MULTILINE))


def pods_groups() -> list[Path]:
    """The control groups of pods: kubepods, or kubepods.slice."""
    found = [Path(folder) for folder, _, _ in os.walk(CGROUPS)]
    return [path for path in found if any(part.startswith("kubepods") for part in path.parts)]


def pods_processes() -> set[int]:
    """All processes in them."""
    numbers: set[int] = set()
    for group in pods_groups():
        with suppress(OSError):
            numbers |= {int(word) for word in (group / "cgroup.procs").read_text(encoding="ascii").split()}
    return numbers - {0}


def mounts() -> list[str]:
    """Where something is mounted, in the order in which it was."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line.split()[4].replace("\\040", " ") for line in lines]


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether `path` is one of `folders`, or in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def bring(copy: Path, path: Path) -> None:
    """The copy in its place, with its owners, modes and times."""
    if copy.is_dir() and not copy.is_symlink():
        shutil.copytree(copy, path, symlinks=True)
        pairs = [(copy, path), *((inner, path / inner.relative_to(copy)) for inner in copy.rglob("*"))]
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(copy, path, follow_symlinks=False)
        pairs = [(copy, path)]
    for old, new in pairs:
        seen = old.lstat()
        os.chown(new, seen.st_uid, seen.st_gid, follow_symlinks=False)


def undo_edit(path: Path, before: str) -> None:
    """Only labctl's own edit is undone: others may have edited the file since."""
    text = path.read_text(encoding="utf-8")
    ours, theirs = EDITED[path]
    restored = re.sub(ours, theirs, text, flags=re.MULTILINE) if re.search(ours, before, re.MULTILINE) is None else text
    if restored != text:
        temporary = path.with_name(f"{path.name}.labctl")
        shutil.copy2(path, temporary)
        temporary.write_text(restored, encoding="utf-8")
        temporary.replace(path)


if __name__ == "__main__":
    main()
