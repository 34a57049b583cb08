"""What containerd is told of a proxy, by facts that are set; tests/e2e/test_real_hosts.py asks a real containerd."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl import paths

PLAY = """
- hosts: one
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {{cacheable: true, env: {env}}}
    - ansible.builtin.include_vars: {role}/defaults/main.yml
    - ansible.builtin.include_vars: {role}/vars/main.yml
    - ansible.builtin.template: {{src: {role}/templates/proxy.env.j2, dest: {dest}, mode: "0600"}}
      when: __containerd_proxy | length > 0
"""


def told(folder: Path, env: dict[str, str]) -> dict[str, str]:
    dest = folder / "proxy.env"
    play = PLAY.format(env=json.dumps(env), role=paths.roles() / "containerd", dest=dest)
    (folder / "play.yml").write_text(play)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"one": {**local, "node_address": "192.0.2.1"}}
    groups = {"control_planes": {"hosts": hosts}, "workers": {"hosts": {"two": {"node_address": "192.0.2.2"}}}}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": {"lab_bundle": "/b"}, "children": groups}}))
    subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"},
        check=True,
    )
    lines = dest.read_text().splitlines()[1:] if dest.exists() else []
    return {name: value.strip('"') for name, value in (line.split("=", 1) for line in lines)}


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_a_proxy_in_either_case_and_what_goes_past_it(name: str, tmp_path: Path) -> None:
    seen = told(tmp_path, {name: "http://proxy.example:3128", "no_proxy": "intern.example, 10.0.0.1", "HOME": "/root"})
    assert seen["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert set(seen) == {"HTTPS_PROXY", "NO_PROXY"}
    direct = seen["NO_PROXY"].split(",")
    assert direct[:2] == ["intern.example", "10.0.0.1"]
    assert {"localhost", ".svc", ".cluster.local", "10.244.0.0/16", "10.96.0.0/16"} < set(direct)
    assert {"192.0.2.1", "192.0.2.2"} < set(direct)


@pytest.mark.parametrize("env", [{"HOME": "/root"}, {"https_proxy": ""}])
def test_without_a_proxy_nothing_is_written(env: dict[str, str], tmp_path: Path) -> None:
    assert told(tmp_path, env) == {}
