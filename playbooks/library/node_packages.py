#!/usr/bin/python
"""An Ansible module: installs packages of the distribution, after it has noted in the manifest which will come."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: node_packages
short_description: Installs packages, and notes which came
description:
  - Installs with apt-get or dnf, without recommended packages. Those that come along are noted in the machine's manifest
    before, by the package manager's own simulation, so that node_restore takes away these and no others. Needs no
    python3-apt.
options:
  names:
    description: The packages.
    type: list
    elements: str
    required: true
  manager:
    description: What the system installs packages with.
    type: str
    choices: [apt, dnf]
    default: apt
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: labctl
"""

EXAMPLES = r"""
- name: Install conntrack
  node_packages:
    names: [conntrack]
"""

MANIFEST = Path("/var/lib/labctl-node/manifest.json")
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
APT = ["--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]
DNF = ["--setopt=install_weak_deps=False"]
DNF_COMES = ("Installing:", "Installing dependencies:")
DNF_CHANGES = ("Upgrading:", "Downgrading:", "Reinstalling:")


def main() -> None:
    """Install what is missing."""
    spec = {
        "names": {"type": "list", "elements": "str", "required": True},
        "manager": {"type": "str", "choices": ["apt", "dnf"], "default": "apt"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    manager = {"apt": Apt, "dnf": Dnf}[module.params["manager"]](module)
    missing = [name for name in module.params["names"] if not manager.has(name)]
    if missing and not module.check_mode:
        note(module.params["manager"], *manager.plan(missing))
        manager.install(missing)
    module.exit_json(changed=bool(missing), missing=missing)


class Apt:
    """Debian's."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def has(self, name: str) -> bool:
        """Whether dpkg has it."""
        code, out, _ = self.module.run_command(["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name])
        return bool(code == 0 and out == "installed")

    def plan(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The packages that would be new, and those of which a newer version would come."""
        run(self.module, ["apt-get", "update"])
        said = run(self.module, ["apt-get", "install", *APT, "--simulate", *names])
        found = re.findall(r"^Inst (\S+) (\[)?", said, re.MULTILINE)
        return [name for name, has_old in found if not has_old], [name for name, has_old in found if has_old]

    def install(self, names: list[str]) -> None:
        """For good."""
        run(self.module, ["apt-get", "install", *APT, *names])


class Dnf:
    """Red Hat's, version 4."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def has(self, name: str) -> bool:
        """Whether rpm has it, in any version unless `name` names one."""
        return bool(self.module.run_command(["rpm", "--query", "--quiet", name])[0] == 0)

    def plan(self, names: list[str]) -> tuple[list[str], list[str]]:
        """As apt's. dnf shows what it would do, and ends with 1 when it is answered no."""
        said = run(self.module, ["dnf", "install", *DNF, "--assumeno", *names], ends=(0, 1))
        comes, changes = (sections(said, titles) for titles in (DNF_COMES, DNF_CHANGES))
        if not comes + changes:
            self.module.fail_json(msg=f"dnf would install none of {', '.join(names)}: {said.strip()[-1500:]}")
        # Of a kernel's packages several versions stand side by side: a further one is no package that was not there.
        return [name for name in comes if not self.has(name)], changes + [name for name in comes if self.has(name)]

    def install(self, names: list[str]) -> None:
        """For good."""
        run(self.module, ["dnf", "install", *DNF, "--assumeyes", *names])


def sections(table: str, titles: tuple[str, ...]) -> list[str]:
    """The names below `titles` in dnf's table; a name stands after one blank, whatever else belongs to it after more."""
    found, is_wanted = [], False
    for line in table.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            is_wanted = line in titles
        elif not line.strip():
            is_wanted = False
        elif is_wanted and (name := re.match(r" (\S+)", line)):
            found.append(name[1])
    return found


def run(module: AnsibleModule, argv: list[str], ends: tuple[int, ...] = (0,)) -> str:
    """What a package manager says; the module fails if it does."""
    code, out, err = module.run_command(argv, environ_update=ENVIRONMENT)
    if code not in ends:
        module.fail_json(msg=f"{argv[0]} {argv[1]} failed: {err.strip()[-1500:] or out.strip()[-1500:]}")
    return str(out)


def note(manager: str, added: list[str], upgraded: list[str]) -> None:
    """Write it down before it happens; a package of which only the version changes was there before."""
    if not MANIFEST.exists():
        return
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    known = manifest["packages"]
    known["manager"] = manager
    known["added"] += [name for name in added if name not in known["added"]]
    known["upgraded"] += [name for name in upgraded if name not in known["upgraded"] + known["added"]]
    temporary = MANIFEST.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(MANIFEST)


if __name__ == "__main__":
    main()
