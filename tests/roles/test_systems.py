"""What the operating systems call things: the file of each, against what was seen of their packages.

tests/recorded/packages.yml says what was seen, and where. On Debian the roles run for real (tests/e2e); on the others
nobody has run them.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl import paths
from labctl.verify import shell
from tests.roles.test_node_base import FACTS, play
from tests.roles.test_node_restore import Machine, load

ROOT = Path(__file__).parents[2]
VARS = ROOT / "roles" / "node_base" / "vars"
MAIN = yaml.safe_load((VARS / "main.yml").read_text())
SYSTEMS: list[str] = MAIN["__node_base_systems"]
RECORDED: dict[str, dict[str, list[str]]] = yaml.safe_load((ROOT / "tests/recorded/packages.yml").read_text())
OLDEST_PYTHON = (3, 9)
"""EL 9's."""
FACTS_OF = {
    "Debian-12": {"distribution": "Debian", "distribution_version": "12.11", "distribution_major_version": "12"},
    "Debian-13": {"distribution": "Debian", "distribution_version": "13.1", "distribution_major_version": "13"},
    "Ubuntu-22.04": {"distribution": "Ubuntu", "distribution_version": "22.04", "distribution_major_version": "22"},
    "Ubuntu-24.04": {"distribution": "Ubuntu", "distribution_version": "24.04", "distribution_major_version": "24"},
    "Ubuntu-26.04": {"distribution": "Ubuntu", "distribution_version": "26.04", "distribution_major_version": "26"},
    "EL-9": {"distribution": "Rocky", "distribution_version": "9.6", "distribution_major_version": "9"},
    "EL-10": {"distribution": "AlmaLinux", "distribution_version": "10.0", "distribution_major_version": "10"},
}
"""As Ansible's setup has them."""
KERNELS = {"EL-10": "6.12.0-124.8.1.el10_1.x86_64"}
APPARMOR = {True: "disabled", False: "enabled"}
EGRESS = yaml.safe_load((ROOT / "roles/egress/vars/main.yml").read_text())
NEEDED = {
    "nft": {"nftables"},
    "conntrack": {"conntrack", "conntrack-tools"},
    "ethtool": {"ethtool"},
    "socat": {"socat"},
    "nsenter": {"util-linux"},
    "mount": {"mount", "util-linux"},
    "sysctl": {"procps", "procps-ng"},
    "modprobe": {"kmod"},
    "ip": {"iproute2", "iproute"},
    "tc": {"iproute2", "iproute-tc"},
    "openssl": {"ca-certificates", "openssl"},
    "/etc/protocols": {"netbase", "setup"},
}
"""What roles, drills and checks call, and the packages that have it somewhere."""
NEEDED_OF = {"apt": {"mount": {"mount"}}, "dnf": {"openssl": {"openssl"}}}
DEBIANS_OWN = {"conntrack", "mount", "procps", "iproute2", "netbase"}
RED_HATS_OWN = {"conntrack-tools", "procps-ng", "iproute", "iproute-tc", "setup"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def of(system: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((VARS / f"{system}.yml").read_text())
    return found


def test_each_system_has_a_file_and_was_looked_up() -> None:
    assert {path.stem for path in VARS.glob("*.yml")} - {"main"} == set(SYSTEMS) == set(RECORDED) == set(FACTS_OF)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_file_says_all_that_the_others_say(system: str) -> None:
    assert of(system).keys() == of("Debian-13").keys()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_package_was_seen_in_that_release(system: str) -> None:
    said = of(system)
    modules = said["__node_base_os_modules"].partition("-{{")[0]
    names = [
        *said["__node_base_os_packages"],
        said["__node_base_os_apparmor"],
        said["__node_base_os_chrony"]["package"],
    ]
    assert {name for name in (*names, modules) if name} == set(RECORDED[system])
    assert all(where for _, where in RECORDED[system].values()), "each with its source"


@pytest.mark.parametrize("system", SYSTEMS)
def test_whatever_is_called_is_in_a_package(system: str) -> None:
    names, manager = set(of(system)["__node_base_os_packages"]), of(system)["__node_base_os_manager"]
    needed = NEEDED | NEEDED_OF[manager]
    assert {program for program, having in needed.items() if not names & having} == set()
    assert not names & (DEBIANS_OWN if manager == "dnf" else RED_HATS_OWN)


RENDER = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        cacheable: true
        distribution: "{{ facts.distribution }}"
        distribution_version: "{{ facts.distribution_version }}"
        distribution_major_version: "{{ facts.distribution_major_version }}"
        kernel: "{{ facts.kernel }}"
        apparmor: {status: "{{ facts.apparmor }}"}
        virtualization_tech_guest: []
        services: {sshd.service: {state: running}}
    - ansible.builtin.include_vars: "{{ role }}/defaults/main.yml"
    - ansible.builtin.include_vars: "{{ role }}/vars/main.yml"
    - ansible.builtin.include_vars: "{{ role }}/vars/{{ __node_base_system }}.yml"
    - ansible.builtin.copy:
        dest: "{{ out }}/{{ inventory_hostname }}"
        content: >-
          {{ {'system': __node_base_system, 'wanted': __node_base_wanted, 'manager': __node_base_os_manager,
              'time': __node_base_os_chrony.unit, 'modules': __node_base_os_modules} | to_json }}
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the role would do on a machine of each kind with a kernel of its own and nothing that keeps the time."""
    folder = tmp_path_factory.mktemp("systems")
    (folder / "play.yml").write_text(RENDER)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "out": str(folder / "out")}
    local |= {"role": str(VARS.parent), "lab_bundle": str(folder)}
    hosts: dict[str, dict[str, Any]] = {
        system: {"facts": {**facts, "kernel": KERNELS.get(system, "6.12"), "apparmor": APPARMOR[system[:2] == "EL"]}}
        for system, facts in FACTS_OF.items()
    }
    stream = {"distribution": "CentOS", "distribution_version": "10", "distribution_major_version": "10"}
    hosts["relative"] = {"facts": {**hosts["EL-10"]["facts"], **stream}, "lab_os": "EL-10"}
    hosts["red-hat"] = {"facts": {**hosts["EL-9"]["facts"], "distribution": "RedHat"}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": local}}))
    (folder / "out").mkdir()
    done = ansible(folder / "hosts.yml", folder / "play.yml")
    assert done.returncode == 0, done.stdout
    return {path.name: json.loads(path.read_text()) for path in (folder / "out").iterdir()}


def ansible(inventory: Path, playbook: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    env = {**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config()), "LC_ALL": "C.UTF-8"}
    argv = [str(program), "-i", str(inventory), str(playbook), *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_role_would_install_what_the_file_says(system: str, rendered: dict[str, dict[str, Any]]) -> None:
    found = rendered[system]
    assert found["system"] == system
    is_el = system.startswith("EL")
    assert found["wanted"] == of(system)["__node_base_os_packages"] + ([] if is_el else ["apparmor"]) + ["chrony"]
    assert (found["manager"], found["time"]) == (("dnf", "chronyd.service") if is_el else ("apt", "chrony.service"))


def test_quirks_and_relatives(rendered: dict[str, dict[str, Any]]) -> None:
    modules = {system: found["modules"] for system, found in rendered.items() if found["modules"]}
    assert modules == dict.fromkeys(("EL-10", "relative"), f"kernel-modules-extra-{KERNELS['EL-10']}")
    assert rendered["relative"] == rendered["EL-10"]
    assert rendered["red-hat"] == rendered["EL-9"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_machine_of_these_is_refused(system: str, tmp_path: Path) -> None:
    done = play(tmp_path, "refuse", FACTS | FACTS_OF[system])
    assert done.returncode == 0, done.stdout


def test_the_role_finds_the_file_itself(tmp_path: Path) -> None:
    assert play(tmp_path, "system", FACTS | FACTS_OF["EL-9"]).returncode == 0
    done = play(tmp_path, "system", FACTS | FACTS_OF["EL-9"], "-e", "lab_os=EL-8")
    assert "EL-8.yml" in done.stdout


def test_dnf_is_asked_what_would_come_and_what_would_go(machine: Machine) -> None:
    """By what dnf 4.14 printed on Debian 12, for packages made for it: one that comes along, one that is upgraded."""
    machine.noted()
    machine.answers |= {"dnf install": recorded("install"), "rpm --query --all": "socat\nlibconntrack\niproute\n"}
    machine.failing = ("rpm --query --quiet",)
    machine.call(machine.install, {"names": ["conntrack-tools", "socat"], "manager": "dnf"})
    long = "kernel-modules-extra-matched-with-a-very-long-name-indeed"
    added = ["conntrack-tools", "iproute", long, "socat", "libconntrack"]
    assert machine.manifest["packages"] == {"manager": "dnf", "added": added, "upgraded": ["setup"]}
    assert machine.fake.calls[-1] == "dnf install --setopt=install_weak_deps=False --assumeyes conntrack-tools socat"
    machine.answers["dnf remove --noautoremove --assumeno"] = "Error:\n Problem: it is protected\n"
    machine.answers["dnf remove --noautoremove --assumeno socat"] = recorded("remove")
    machine.answers["dnf remove --noautoremove --assumeno iproute"] = recorded("remove").replace("others", "iproute")
    machine.answers = dict(sorted(machine.answers.items(), key=lambda item: -len(item[0])))
    machine.failing = ()
    machine.restored()
    calls = [call for call in machine.fake.calls if call.startswith("dnf") and "assumeno" not in call]
    assert calls == ["dnf remove --noautoremove --assumeyes iproute"], (
        "others needs socat, and libconntrack is protected"
    )


def test_a_further_version_of_a_kernels_package_is_no_new_one(machine: Machine) -> None:
    machine.noted()
    machine.answers |= {"dnf install": "Installing:\n kernel-modules-extra x86_64 6.12 baseos 2 M\n\nTransaction"}
    machine.failing = ("rpm --query --quiet kernel-modules-extra-6.12",)
    machine.call(machine.install, {"names": ["kernel-modules-extra-6.12"], "manager": "dnf"})
    assert machine.manifest["packages"]["added"] == []
    assert machine.manifest["packages"]["upgraded"] == ["kernel-modules-extra"]


def test_what_dnf_does_not_have_is_said(machine: Machine) -> None:
    machine.noted()
    machine.answers |= {"dnf install": "No match for argument: nothing\n"}
    machine.failing = ("rpm", "dnf")
    said = machine.call(machine.install, {"names": ["nothing"], "manager": "dnf"})
    assert said["failed"]
    assert "No match for argument: nothing" in said["msg"]


@pytest.mark.parametrize("is_there", [True, False])
def test_the_trust_store_is_renewed_as_the_system_does_it(is_there: bool, machine: Machine) -> None:  # noqa: FBT001
    assert load("node_restore").AUTHORITIES.keys() == {
        Path(EGRESS["__egress_authorities"]),
        Path(EGRESS["__egress_bundle"]),
    }, "the role puts them there"
    file = machine.at("anchors.pem")
    machine.patch.setattr(machine.give_back, "AUTHORITIES", {file: ("update-ca-trust", "extract")})
    machine.noted("anchors.pem")
    if is_there:
        file.touch()
    machine.restored()
    assert ("update-ca-trust extract" in machine.fake.calls) == is_there
    assert not file.exists()


def recorded(name: str) -> str:
    return (ROOT / "tests/recorded/dnf" / f"{name}.txt").read_text()


def sources() -> dict[str, str]:
    """Python that runs on machines."""
    files = [*(ROOT / "playbooks/library").glob("*.py"), ROOT / "roles/kube_packages/files/kubeadm-once"]
    return {path.name: path.read_text() for path in files} | {"a check's shell": shell._THERE}


@pytest.mark.parametrize("name", sources())
def test_the_oldest_python_can_read_what_runs_on_machines(name: str) -> None:
    tree = ast.parse(sources()[name], feature_version=OLDEST_PYTHON)
    too_new = [
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip"
        for keyword in node.keywords
    ]
    assert too_new == [], "zip(strict=) came with 3.10"


def test_programs_of_labctls_own_are_called_by_their_path() -> None:
    """sudo on Red Hat's does not look into /usr/local/bin; scripts set their own PATH."""
    names = "|".join(MAIN["__node_base_programs"])
    called = re.compile(rf"(?:command|cmd): \"?(?:{names})\b|argv: (?:\[|\"\{{\{{ \[')(?:{names})\b")
    found = [
        (path, line)
        for path in (ROOT / "roles").glob("*/*/*.yml")
        for line in path.read_text().splitlines()
        if called.search(line)
    ]
    assert found == []
    for script in ("roles/kube_packages/files/take-nft", "playbooks/faults/lib.sh"):
        assert "/usr/local/bin:$PATH" in (ROOT / script).read_text()


AUTHORITIES = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_vars: "{{ role }}/vars/main.yml"
    - ansible.builtin.include_tasks: "{{ role }}/tasks/authorities.yml"
  handlers:
    - name: Renew the trust store
      ansible.builtin.copy: {dest: "{{ out }}/renewed", content: "", mode: "0600"}
"""


def trusted(folder: Path, files: list[Path]) -> str:
    """What Red Hat's file of authorities holds after the role; nothing if there is none."""
    anchors = folder / "anchors"
    anchors.mkdir(exist_ok=True)
    (folder / "authorities.yml").write_text(AUTHORITIES)
    (folder / "hosts").write_text(f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    more = {
        "role": str(paths.roles() / "egress"),
        "out": str(folder),
        "__egress_bundle": str(anchors / "labctl.pem"),
        "egress_ca_certificates": [str(file) for file in files],
    }
    done = ansible(folder / "hosts", folder / "authorities.yml", "-e", json.dumps(more))
    assert done.returncode == 0, done.stdout
    file = anchors / "labctl.pem"
    return file.read_text() if file.exists() else ""


def test_authorities_are_one_file_on_red_hats(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.pem", "two.pem")]
    for file in files:
        file.write_text(f"-----BEGIN {file.stem}-----\n")
    assert trusted(tmp_path, files) == "-----BEGIN one-----\n-----BEGIN two-----\n"
    assert (tmp_path / "renewed").exists()
    (tmp_path / "renewed").unlink()
    assert trusted(tmp_path, files)
    assert not (tmp_path / "renewed").exists(), "nothing has changed"
    assert trusted(tmp_path, []) == ""
    assert (tmp_path / "renewed").exists()
