"""The modules that note what a machine is and give it back, on folders of this one, with stand-ins for programs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "playbooks" / "library"


class Ended(Exception):  # noqa: N818 (it is no error)
    """exit_json or fail_json."""

    def __init__(self, **said: Any) -> None:  # noqa: ANN401 (whatever a module says)
        super().__init__(str(said))
        self.said = said


class Fake:
    """Stands for AnsibleModule; `answers` are what programs print, by how their command begins."""

    def __init__(self, params: dict[str, Any], answers: dict[str, str], *, check: bool = False) -> None:
        self.params, self.check_mode, self.answers = params, check, answers
        self.calls: list[str] = []
        self.failing: tuple[str, ...] = ()
        self.stdin: dict[str, str] = {}

    def __call__(self, **_: object) -> Fake:
        return self

    def run_command(self, argv: list[str], data: str | None = None, **_: object) -> tuple[int, str, str]:
        line = " ".join(argv)
        self.calls.append(line)
        if data is not None:
            self.stdin[line] = data
        answer = next((text for start, text in self.answers.items() if line.startswith(start)), None)
        return (int(line.startswith(self.failing)), answer or "", "")

    def exit_json(self, **said: Any) -> None:  # noqa: ANN401
        raise Ended(**said)

    def fail_json(self, **said: Any) -> None:  # noqa: ANN401
        raise Ended(failed=True, **said)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LIBRARY / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machine:
    """Folders below `root` stand for the machine's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.patch = monkeypatch
        self.answers: dict[str, str] = {"systemd-detect-virt": ""}
        self.failing: tuple[str, ...] = ()
        self.folder = root / "var" / "labctl-node"
        self.note, self.give_back, self.install = map(load, ("node_manifest", "node_restore", "node_packages"))
        (root / "sys" / "net").mkdir(parents=True)
        (root / "sys" / "net" / "forward").write_text("0\n")
        (root / "etc").mkdir()
        for module in (self.note, self.give_back):
            monkeypatch.setattr(module, "FOLDER", self.folder)
            monkeypatch.setattr(module, "SYS", root / "sys")
        monkeypatch.setattr(self.note, "OWN", root / "etc" / "labctl")
        monkeypatch.setattr(self.note, "homes", list)
        monkeypatch.setattr(self.note, "SWAPS", self.file("swaps", "Filename Type\n"))
        monkeypatch.setattr(self.install, "MANIFEST", self.folder / "manifest.json")
        monkeypatch.setattr(self.give_back, "CGROUPS", root / "cgroups")
        monkeypatch.setattr(self.give_back, "SCRIPT", root / "etc" / "labctl" / "network")
        monkeypatch.setattr(self.give_back, "AUTHORITIES", root / "authorities")
        monkeypatch.setattr(self.give_back, "MANAGERS", ())
        monkeypatch.setattr(self.give_back, "mounts", list)
        monkeypatch.setattr(self.give_back, "EDITED", {self.at("etc/fstab"): (r"^# turned off by labctl: ", "")})
        monkeypatch.setattr(shutil, "which", lambda program: program)

    def at(self, name: str) -> Path:
        return self.root / name

    def file(self, name: str, text: str) -> Path:
        path = self.at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def call(self, module: ModuleType, params: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        self.fake = Fake(params, self.answers, check=check)
        self.fake.failing = self.failing
        self.patch.setattr(module, "AnsibleModule", self.fake)
        with pytest.raises(Ended) as ended:
            module.main()
        return ended.value.said

    def noted(self, *paths: str, check: bool = False, lab: str = "lab", **more: list[str]) -> dict[str, Any]:
        lists: dict[str, list[str]] = {key: [] for key in ("sysctls", "users", "modules", "ufw", "firewalld")}
        params = {**lists, "lab": lab, "paths": [str(self.at(path)) for path in paths], **more}
        return self.call(self.note, params, check=check)

    def restored(self, *, check: bool = False, lab: str = "lab") -> dict[str, Any]:
        return self.call(self.give_back, {"lab": lab}, check=check)

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_was_not_there_goes_and_what_was_there_is_as_it_was(machine: Machine) -> None:
    machine.file("bin/kubectl", "somebody's").chmod(0o711)
    machine.file("cni/other.conf", "somebody's")
    assert machine.noted("bin/kubectl", "cni", "new")["changed"]
    machine.file("bin/kubectl", "labctl's")
    machine.file("cni/labctl.conf", "labctl's")
    machine.file("new/deep/file", "labctl's")
    assert machine.restored()["changed"]
    assert machine.at("bin/kubectl").read_text() == "somebody's"
    assert machine.at("bin/kubectl").stat().st_mode & 0o777 == 0o711
    assert [path.name for path in machine.at("cni").iterdir()] == ["other.conf"]
    assert not machine.at("new").exists()
    assert not machine.folder.exists(), "the manifest and its copies go last"
    assert not machine.restored()["changed"], "a second time there is nothing to do"


def test_a_second_note_changes_nothing_and_knows_the_first_state(machine: Machine) -> None:
    machine.noted("new")
    machine.file("new", "labctl's")
    assert not machine.noted("new")["changed"]
    assert machine.noted("new", "newer")["changed"], "a later labctl may own more"
    assert machine.manifest["paths"] == {str(machine.at("new")): None, str(machine.at("newer")): None}


def test_interfaces_of_pods_are_no_news(machine: Machine) -> None:
    machine.noted(sysctls=["net/conf/*"])
    machine.file("sys/net/conf/veth0", "1")
    assert not machine.noted(sysctls=["net/conf/*"])["changed"]
    assert machine.noted(sysctls=["net/*"])["changed"]


def test_check_mode_writes_nothing_and_tells_what_would_go(machine: Machine) -> None:
    assert machine.noted("new", check=True)["changed"]
    assert not machine.folder.exists()
    machine.noted("new")
    machine.file("new", "labctl's")
    said = machine.restored(check=True)
    assert said["changed"]
    assert f"{machine.at('new')}: removed" in said["diff"]["before"]
    assert machine.at("new").exists()


def test_a_machine_of_another_lab_is_left_alone(machine: Machine) -> None:
    machine.noted("new", lab="one")
    machine.file("new", "of lab one")
    assert "one of the lab one, not of two" in machine.noted("new", lab="two")["msg"]
    assert machine.restored(lab="two")["failed"]
    assert machine.at("new").exists()


def test_a_machine_from_an_image_is_of_whichever_lab_it_is_used_for(machine: Machine) -> None:
    machine.noted("new", lab="")
    machine.file("new", "of the image")
    assert not machine.noted("new", lab="two")["changed"]
    assert machine.restored(lab="two")["changed"]
    assert not machine.at("new").exists()


def test_what_labctl_wrote_before_it_kept_manifests_is_taken_for_its_own(machine: Machine) -> None:
    machine.file("etc/labctl/images", "an older labctl's")
    machine.noted("etc/labctl")
    machine.restored()
    assert not machine.at("etc/labctl").exists()


def test_nothing_is_removed_below_a_mount(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod may have had somebody's disk there."""
    machine.noted("kubelet")
    disk = machine.file("kubelet/pods/1/volume/precious", "somebody's")
    monkeypatch.setattr(machine.give_back, "mounts", lambda: [str(disk.parent)])
    said = machine.restored()
    assert said["failed"]
    assert f"{disk.parent} is still mounted there" in said["msg"]
    assert disk.exists()
    assert machine.folder.exists(), "so that the same command takes it up again"


def test_somebody_elses_file_keeps_what_somebody_else_wrote_meanwhile(machine: Machine) -> None:
    fstab = machine.file("etc/fstab", "/dev/a / ext4\n/dev/b none swap sw 0 0\n")
    machine.noted("etc/fstab")
    fstab.write_text("/dev/a / ext4\n# turned off by labctl: /dev/b none swap sw 0 0\n/dev/c /data ext4\n")
    machine.restored()
    assert fstab.read_text() == "/dev/a / ext4\n/dev/b none swap sw 0 0\n/dev/c /data ext4\n"


def test_settings_of_the_kernel(machine: Machine) -> None:
    machine.file("sys/vm/overcommit", "0")
    machine.noted(sysctls=["net/*", "vm/*"])
    for name in ("net/forward", "vm/overcommit"):
        machine.at(f"sys/{name}").write_text("1")
    machine.restored()
    assert machine.at("sys/net/forward").read_text() == "0"
    assert machine.at("sys/vm/overcommit").read_text() == "1", "systemd-detect-virt says container: its host's own"


def test_packages_that_came_go_but_for_what_something_else_needs_by_now(machine: Machine) -> None:
    machine.noted()
    machine.answers |= {
        "dpkg-query --show --showformat ${db:Status-Status} there": "installed",
        "apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "
        "-o Dpkg::Options::=--force-confold --simulate": "Inst libnew (1.0 Debian)\nInst old [1.0] (1.1 Debian)\n"
        "Inst new (2.0 Debian)\nConf new (2.0 Debian)\n",
    }
    assert machine.call(machine.install, {"names": ["there", "new"]})["missing"] == ["new"]
    assert machine.manifest["packages"] == {"added": ["libnew", "new"], "upgraded": ["old"]}
    assert machine.fake.calls[-1].endswith("force-confold new"), "noted before it is installed"
    machine.answers |= {
        "dpkg-query --show --showformat ${Package}": "libnew installed\nnew installed\nold installed\n",
        "apt-get purge --yes --simulate libnew": "Purg new [2.0]\nPurg libnew [1.0]\nPurg others-tool [7]\n",
        "apt-get purge --yes --simulate new": "Purg new [2.0]\n",
    }
    assert machine.restored()["kept"] == ["old"]
    assert [call for call in machine.fake.calls if "purge" in call and "simulate" not in call] == [
        "apt-get purge --yes -o DPkg::Lock::Timeout=300 new"
    ]


def test_rules_of_firewalls_that_were_there_before_stay(machine: Machine) -> None:
    machine.answers |= {
        "ufw show added": "Added user rules:\nufw allow 22/tcp\nufw allow 6443/tcp\n",
        "firewall-cmd --permanent --list-ports": "9100/tcp 6443/tcp\n",
        "firewall-cmd --permanent --zone=trusted --list-sources": "\n",
    }
    machine.noted(ufw=["allow proto tcp to any port 6443", "route allow from 10.244.0.0/16"])
    machine.noted(firewalld=["--add-port=6443/tcp", "--zone=trusted --add-source=10.244.0.0/16"])
    machine.answers["ufw show added"] = "Added user rules:\nufw allow 22/tcp\n"
    machine.restored()
    calls = [call for call in machine.fake.calls if call.startswith(("ufw", "firewall-cmd"))]
    assert calls == [
        "ufw delete allow proto tcp to any port 6443",
        "ufw route delete allow from 10.244.0.0/16",
        "ufw show added",
        "ufw allow 6443/tcp",
        "firewall-cmd --state",
        "firewall-cmd --permanent --zone=trusted --remove-source=10.244.0.0/16",
        "firewall-cmd --reload",
    ]


def test_the_kernels_tables_and_routes(machine: Machine) -> None:
    machine.noted()
    machine.file("etc/labctl/network", "#!/bin/sh\nip route replace 10.244.1.0/24 via 192.0.2.2\n")
    machine.answers |= {
        "nft list tables": "table ip labctl\ntable inet filter\ntable ip6 kube-proxy\n",
        "iptables-save": "*filter\n:INPUT ACCEPT\n:KUBE-FIREWALL - \n-A INPUT -j KUBE-FIREWALL\n"
        "-A INPUT -j THEIRS\nCOMMIT\n",
    }
    machine.restored()
    assert "ip route del 10.244.1.0/24 via 192.0.2.2" in machine.fake.calls
    assert [call for call in machine.fake.calls if "nft delete" in call] == [
        "nft delete table ip labctl",
        "nft delete table ip6 kube-proxy",
    ]
    assert machine.fake.stdin["iptables-restore"] == "*filter\n:INPUT ACCEPT\n-A INPUT -j THEIRS\nCOMMIT\n"


@pytest.mark.parametrize("fails", ["nft list tables", "nft delete table"])
def test_a_table_that_stays_is_named(fails: str, machine: Machine) -> None:
    """As where the machine's nft is older than who wrote the table."""
    machine.noted()
    machine.answers["nft list tables"] = "table ip labctl\n"
    machine.failing = (fails,)
    assert "nftables" in str(machine.restored())


OWNED = yaml.safe_load((ROOT / "roles" / "node_base" / "vars" / "main.yml").read_text())
NOT_NOTED = (
    "/var/tmp/labctl-",  # noqa: S108 - removed by the task that copies it
    "/lib/modules",
)
LOOKED_AT = ("/usr/local/bin", "/etc/systemd/system", "/etc/NetworkManager/conf.d")
"""Folders that are there already; what is written into them is noted by its name."""


def owned() -> list[str]:
    names: list[str] = OWNED["__node_base_files"]
    units = [f"/etc/systemd/system/{name}" for name in OWNED["__node_base_units"]]
    return [*names, *units, *(f"/usr/local/bin/{name}" for name in OWNED["__node_base_programs"])]


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_whatever_a_role_writes_is_noted_before(role: str) -> None:
    """By the absolute paths after dest: and path: in its tasks and variables."""
    text = "".join(path.read_text() for path in (ROOT / "roles" / role).glob("[tv]a*/*.yml"))
    written = re.findall(r"^\s*(?:- )?(?:dest|path): [\"']?(/[^\s\"'{]+)", text, re.MULTILINE)
    loops = re.findall(r'dest: "/usr/local/bin/\{\{ item \}\}"\n.*\n  loop: \[([^\]]+)\]', text)
    written += [f"/usr/local/bin/{name.strip()}" for names in loops for name in names.split(",")]
    written = [path.rstrip("/") for path in written if path.rstrip("/") not in LOOKED_AT]
    known = owned()
    missing = [
        path
        for path in written
        if not path.startswith(NOT_NOTED) and not any(path == one or path.startswith(f"{one}/") for one in known)
    ]
    assert missing == []
