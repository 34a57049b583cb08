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
  - Installs with apt-get, without recommended packages. Those that come along are noted in the machine's manifest
    before, by apt's own simulation, so that node_restore takes away these and no others. Needs no python3-apt.
options:
  names:
    description: The packages.
    type: list
    elements: str
    required: true
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
OPTIONS = ["--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]


def main() -> None:
    """Install what is missing."""
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    missing = [name for name in module.params["names"] if not is_installed(module, name)]
    if missing and not module.check_mode:
        apt(module, "update")
        note(*plan(apt(module, "install", *OPTIONS, "--simulate", *missing)))
        apt(module, "install", *OPTIONS, *missing)
    module.exit_json(changed=bool(missing), missing=missing)


def is_installed(module: AnsibleModule, name: str) -> bool:
    """Whether dpkg has it."""
    code, out, _ = module.run_command(["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name])
    return bool(code == 0 and out == "installed")


def apt(module: AnsibleModule, *words: str) -> str:
    """What apt-get says; the module fails if it does."""
    code, out, err = module.run_command(["apt-get", *words], environ_update=ENVIRONMENT)
    if code != 0:
        module.fail_json(msg=f"apt-get {words[0]} failed: {err.strip()[-1500:] or out.strip()[-1500:]}")
    return str(out)


def plan(simulated: str) -> tuple[list[str], list[str]]:
    """The packages that would be new, and those of which a newer version would come, by ``apt-get --simulate``."""
    found = re.findall(r"^Inst (\S+) (\[)?", simulated, re.MULTILINE)
    return [name for name, has_old in found if not has_old], [name for name, has_old in found if has_old]


def note(added: list[str], upgraded: list[str]) -> None:
    """Write it down before it happens; a package of which only the version changes was there before."""
    if not MANIFEST.exists():
        return
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    known = manifest["packages"]
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
