#!/usr/bin/python
"""An Ansible module: several small files of a machine, and what depends on them, in one round trip."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: node_files
short_description: Writes several small files at once
description:
  - A round trip to a machine costs more than the work it is made for; one is enough for all files of a role.
options:
  files:
    description: The files, each with its path, its whole content, and its mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: "Where; the folder is made, mode 0755."}
      content: {type: str, required: true, description: "What."}
      mode: {type: str, default: "0644", description: "Octal."}
  unit:
    description: A systemd unit that is restarted when one of the files has changed.
    type: str
    default: ""
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: labctl
"""

EXAMPLES = r"""
- name: Describe the pod network
  node_files:
    files:
      - path: /etc/labctl/10-labctl.conflist
        content: "{{ lookup('ansible.builtin.template', '10-labctl.conflist.j2') }}"
    unit: labctl-network.service
"""


def main() -> None:
    """Write the files that differ."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "unit": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    # Between the first write and the unit's restart there is this mark: a run that was killed there is made up for.
    pending = Path(f"{module.params['files'][0]['path']}.pending") if unit else None
    diffs = [diff for file in module.params["files"] if (diff := _settle(module, file, pending))]
    is_due = bool(pending and (diffs or pending.exists()))
    if pending and is_due and not module.check_mode:
        module.run_command(["systemctl", "restart", unit], check_rc=True)
        pending.unlink(missing_ok=True)
    module.exit_json(changed=bool(diffs) or is_due, diff=diffs)


def _settle(module: AnsibleModule, file: dict[str, str], pending: Path | None) -> dict[str, str] | None:
    """Make one file as it should be; returns the difference, or None where there was none."""
    path, wanted, mode = file["path"], file["content"], int(file["mode"], 8)
    before, mode_before = _read(path)
    if before == wanted and mode_before == mode:
        return None
    if not module.check_mode:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if pending:
            pending.touch()
        temporary = f"{path}.labctl"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            os.fchmod(out.fileno(), mode)
            out.write(wanted)
        # Not module.atomic_move: it gives a new file the mode that the umask says.
        Path(temporary).replace(path)
        module.set_default_selinux_context(path, changed=False)
    return {"before_header": path, "after_header": path, "before": before or "", "after": wanted}


def _read(path: str) -> tuple[str | None, int]:
    try:
        return Path(path).read_bytes().decode("utf-8", errors="replace"), Path(path).stat().st_mode & 0o7777
    except FileNotFoundError:
        return None, 0


if __name__ == "__main__":
    main()
