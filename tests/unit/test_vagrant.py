"""Virtual machines by Vagrant: the Vagrantfile, what vagrant was recorded to say, and a stand-in for the hypervisor."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl import bootstrap, inventory, paths, process, state, teardown, topology
from labctl.config import LabConfig
from labctl.config_vagrant import NETWORK
from labctl.errors import ProviderError, UsageError
from labctl.events import Event, Progress
from labctl.process import Completed
from labctl.providers import hosts, vagrant
from labctl.providers.base import CanStop, Machine
from labctl.providers.choose import provider_for, provider_of, way_to
from labctl.providers.hypervisor import LIBVIRT, VIRTUALBOX
from labctl.providers.vagrant import VagrantProvider, as_hosts
from labctl.providers.vagrant_program import Line, parse

RECORDED = Path(__file__).with_name("recorded_vagrant")
CONFIG = LabConfig(provider="vagrant", workers=1)
DOMSTATES = {"running": "running\n\n", "shut off": "shut off\n\n", "paused": "paused\n\n"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.setattr(hosts, "_POLL_S", 0)


class Host:
    """This host's programs: libvirt's domains by name with their state, vagrant as it was recorded, ssh."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **domains: str) -> None:
        self.domains = {name.replace("_", "-"): state for name, state in domains.items()}
        self.calls: list[str] = []
        self.says = {"status": ("status.txt", 0), "up": ("up.txt", 0), "destroy": ("destroy.txt", 0)}
        self.env: dict[str, str] = {}
        monkeypatch.setattr(process, "run", self.run)
        monkeypatch.setattr(process, "stream", self.stream)
        monkeypatch.setattr(process, "has", lambda _: True)

    def run(self, argv: list[object], *, check: bool = True, **_: object) -> Completed:
        words = [str(word) for word in argv]
        done = Completed(tuple(words), *(self.virsh(*words[3:]) if words[0] == "virsh" else (0, "0\n", "")))
        if check and done.code:
            raise process.CommandError(done)
        return done

    def virsh(self, verb: str, name: str = "") -> tuple[int, str, str]:
        self.calls += [f"{verb} {name}"] if verb not in ("domstate", "version") else []
        if name and name not in self.domains:
            return 1, "", f"error: failed to get domain '{name}'"
        self.domains |= {"destroy": {name: "shut off"}, "start": {name: "running"}}.get(verb, {})
        return 0, f"{self.domains.get(name, '')}\n\n", ""

    def stream(self, argv: list[str], *, on_line: Callable[[str], None], env: dict[str, str], **_: object) -> None:
        self.env = env
        verb, *words = argv[1:-1]
        self.calls.append(" ".join(["vagrant", verb, *words]))
        if verb == "up":
            self.domains |= dict.fromkeys(words, "running")
        file, code = self.says[verb]
        for line in (RECORDED / file).read_text().splitlines():
            on_line(line)
        if code:
            raise process.CommandError(Completed(tuple(argv), code, "", ""))


# -- the Vagrantfile

STUB = """
require "json"
class Any
  def initialize(into) = @into = into
  def method_missing(name, *words, **named)
    return @into[name.to_s.chomp("=")] = words.first if name.end_with?("=")
    case name
    when :vm then self
    when :define then yield Any.new(@into[words.first] = {})
    when :provider then yield Any.new(@into[words.first] = {})
    when :network then @into["network"] = named
    end
  end
end
module Vagrant
  def self.configure(_version)
    found = {}
    yield Any.new(found)
    puts JSON.dump(found.merge("env" => ENV.slice("VAGRANT_DEFAULT_PROVIDER", "VAGRANT_NO_PARALLEL")))
  end
end
load ARGV.first
"""


def vagrantfile(tmp_path: Path, text: str) -> dict[str, Any]:
    """What the Vagrantfile makes of a labctl.yml."""
    file = tmp_path / "labctl.yml"
    file.write_text(text)
    (tmp_path / "stub.rb").write_text(STUB)
    done = subprocess.run(
        ["ruby", tmp_path / "stub.rb", paths.vagrantfile()],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "LABCTL_CONFIG": str(file), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


needs_ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby comes with Vagrant")
LABS = [
    "",
    "{name: two, control_planes: 3, workers: 0, networks: {machines: 192.168.57.0/24}}",
    "{node: {cpus: 4, memory: 3Gi}, nodes: {worker-2: {memory: 1500Mi}, cp-1: {labels: {a: b}}}}",
    "{slow_machine: true, vagrant: {box: mine/box, hypervisor: virtualbox}}",
]


@needs_ruby
@pytest.mark.parametrize("text", LABS)
def test_the_vagrantfile_makes_the_machines_that_labctl_plans(tmp_path: Path, text: str) -> None:
    config = LabConfig.model_validate({**(yaml.safe_load(text) or {}), "provider": "vagrant"})
    found = vagrantfile(tmp_path, text)
    planned = {machine.name: machine for machine in topology.plan(config, vagrant.network_of(config))}
    made = {name: one for name, one in found.items() if isinstance(one, dict) and "network" in one}
    assert list(made) == list(planned)
    for name, one in made.items():
        size = {"cpus": int(planned[name].settings.cpus or 2), "memory": vagrant.memory_mib(planned[name].settings)}
        assert one["hostname"] == name
        assert one["network"]["ip"] == str(planned[name].address)
        assert one["libvirt"] == {"default_prefix": "", **size}
        assert one["virtualbox"] == {"name": name, **size}
    assert found["box"] == config.vagrant.box
    env = {"VAGRANT_NO_PARALLEL": "yes"} if config.slow_machine else {}
    env |= {"VAGRANT_DEFAULT_PROVIDER": "virtualbox"} if "virtualbox" in text else {}
    assert found["env"] == env, "which hypervisor it is Vagrant finds out, unless labctl.yml says so"


@needs_ruby
def test_what_labctl_writes_for_the_vagrantfile_says_the_same(tmp_path: Path) -> None:
    for text in LABS:
        config = LabConfig.model_validate({**(yaml.safe_load(text) or {}), "provider": "vagrant"})
        provider = VagrantProvider(config)
        provider.vagrant.describe(config)
        assert vagrantfile(tmp_path, paths.LabPaths(config.name).vagrant_config.read_text()) == vagrantfile(
            tmp_path, text
        )


def test_the_example_inventory_has_the_vagrantfiles_machines() -> None:
    file = paths.vagrantfile().parent / "inventories" / "vagrant" / "hosts.yml"
    groups = yaml.safe_load(file.read_text())["all"]["children"]
    seen = {name: host["node_address"] for group in groups.values() for name, host in group["hosts"].items()}
    planned = topology.plan(LabConfig(provider="vagrant"), NETWORK)
    assert seen == {machine.name: str(machine.address) for machine in planned}


# -- what vagrant says


def test_a_line_of_vagrants() -> None:
    assert parse("1795820141,lab-cp-1,state,not_created") == Line("lab-cp-1", "state", ("not_created",))
    assert parse("1795820141,,ui,info,a VM%!(VAGRANT_COMMA) run\\nit") == Line("", "ui", ("info", "a VM, run\nit"))
    for noise in ("", "warning: a, b, c, d", "/usr/lib/ruby: warning, a"):
        assert parse(noise) is None


def test_the_states_of_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    found = VagrantProvider(CONFIG).vagrant.states()
    assert found == {"lab-cp-1": "not_created", "lab-worker-1": "not_created"}
    assert host.env["VAGRANT_CWD"] == str(paths.vagrantfile().parent)
    assert host.env["VAGRANT_DOTFILE_PATH"] == str(paths.LabPaths("lab").vagrant_state), "no lab is in another's way"


def test_a_failure_is_told_with_vagrants_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.says["up"] = ("no-libvirt.txt", 1)
    with pytest.raises(
        ProviderError, match=r"vagrant up lab-cp-1 .*failed: Error while connecting to Libvirt"
    ) as error:
        VagrantProvider(CONFIG).create(CONFIG, lambda _: None)
    assert "vagrant up lab-cp-1" in error.value.hint


def test_what_is_no_line_of_vagrants_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    host.says["status"] = ("no-network.txt", 1)
    with pytest.raises(ProviderError, match=r"failed: networks.machines must be a /24, not 10.0.0.0/16"):
        VagrantProvider(CONFIG).vagrant.states()


# -- the provider


def test_missing_machines_are_made_and_the_others_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    seen: list[Event] = []
    VagrantProvider(CONFIG).create(CONFIG, seen.append)
    assert host.calls == ["vagrant status", "vagrant up lab-cp-1 lab-worker-1"]
    said = [event.text for event in seen if isinstance(event, Progress)]
    assert any(text.startswith("lab-cp-1: ") for text in said), "minutes go by: vagrant's own words"

    host.domains["lab-worker-1"] = "shut off"
    host.calls.clear()
    VagrantProvider(CONFIG).create(CONFIG, seen.append)
    assert host.calls == ["start lab-worker-1"], "the hypervisor's own command"


def test_what_a_killed_run_left_half_made_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, lab_cp_1="running", lab_worker_1="running")
    state.write_file(paths.LabPaths("lab").vagrant_made("lab-cp-1"), "")
    host.says["status"] = ("status-made.txt", 0)
    seen: list[Event] = []
    VagrantProvider(CONFIG).create(CONFIG, seen.append)
    assert host.calls == ["vagrant status", "vagrant destroy --force lab-worker-1", "vagrant up lab-worker-1"]
    assert any("half made" in event.text for event in seen if isinstance(event, Progress))


def test_a_machine_that_somebody_destroyed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, lab_cp_1="running")
    for name in CONFIG.node_names:
        state.write_file(paths.LabPaths("lab").vagrant_made(name), "")
    VagrantProvider(CONFIG).create(CONFIG, lambda _: None)
    assert host.calls == ["vagrant status", "vagrant up lab-worker-1"]


def test_a_machine_that_is_made_again_has_another_host_key(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []
    Host(monkeypatch)
    others = process.run
    state.write_file(paths.LabPaths("lab").known_hosts, "192.168.56.10 ssh-ed25519 old\n")

    def run(argv: list[object], **more: object) -> Completed:
        forgotten.extend(str(word) for word in argv if argv[0] == "ssh-keygen" and str(word).startswith("192"))
        return others(argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", run)
    VagrantProvider(CONFIG).create(CONFIG, lambda _: None)
    assert forgotten == ["192.168.56.10", "192.168.56.20"]


def test_the_switch_is_the_hypervisors_and_off_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, lab_cp_1="running", lab_worker_1="running")
    provider = VagrantProvider(CONFIG)
    assert isinstance(provider, CanStop)
    provider.power_off("lab-worker-1")
    assert host.calls == ["destroy lab-worker-1"], "as a pulled plug: libvirt calls it destroy, the disk stays"
    assert provider.power("lab-worker-1") == "off"
    provider.power_off("lab-worker-1")
    assert len(host.calls) == 1
    provider.power_on("lab-worker-1")
    assert host.calls[1:] == ["start lab-worker-1"]
    with pytest.raises(ProviderError, match="strange is no machine of the lab lab"):
        provider.power_off("strange")


@pytest.mark.parametrize(
    ("said", "power"),
    [
        ("running\n\n", "on"),
        ("in shutdown\n\n", "on"),
        ("shut off\n\n", "off"),
        ("crashed\n", "off"),
        ("paused\n", "paused"),
    ],
)
def test_states_of_libvirt(said: str, power: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed(("virsh",), 0, said, ""))
    assert LIBVIRT.power("lab-cp-1") == power


@pytest.mark.parametrize(
    ("said", "power"),
    [("running", "on"), ("poweroff", "off"), ("aborted", "off"), ("paused", "paused"), ("saved", "off")],
)
def test_states_of_virtualbox(said: str, power: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'name="lab-cp-1"\nacpi="on"\nvrde="off"\nVMState="{said}"\nVMStateChangeTime="2026-11-27T22:00:00"\n'
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed(("VBoxManage",), 0, text, ""))
    assert VIRTUALBOX.power("lab-cp-1") == power


def test_a_hypervisor_that_does_not_answer_is_no_machine_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "error: failed to connect to the hypervisor\n"
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed(("virsh",), 1, "", said))
    with pytest.raises(ProviderError, match="libvirt does not say whether lab-cp-1 is on: error: failed to connect"):
        LIBVIRT.power("lab-cp-1")


def test_machines_that_are_gone_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, lab_cp_1="running")
    assert VagrantProvider(CONFIG).machines() == [Machine("lab-cp-1", "control-plane", "192.168.56.10", "on")]


def test_the_way_is_vagrants_user_and_the_key_that_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, lab_cp_1="running")
    state.save(state.LabRecord(created="now", config=CONFIG, bundle="/b"))
    lab = paths.LabPaths("lab")
    way = way_to("lab", Machine("lab-cp-1", "control-plane", "192.168.56.10", "on"))
    assert not way.is_root
    assert way.words[-1] == "192.168.56.10", "never the address behind NAT"
    assert str(lab.vagrant_state / "machines/lab-cp-1/libvirt/private_key") in way.words
    assert way.words[1:3] == ("-F", "none")
    assert isinstance(provider_of("lab"), VagrantProvider)


def test_the_inventory_leads_to_the_private_network() -> None:
    lab = paths.LabPaths("lab")
    config = CONFIG.model_copy(update={"slow_machine": True})
    provider = VagrantProvider(config)
    tree = yaml.safe_load(inventory.for_lab(config, provider.plan(config), Path("/b"), lab))["all"]
    worker = tree["children"]["workers"]["hosts"]["lab-worker-1"]
    assert (worker["ansible_host"], worker["node_address"]) == ("192.168.56.20", "192.168.56.20")
    assert worker["node_pod_subnet"] == "10.244.1.0/24"
    assert (worker["ansible_user"], worker["ansible_become"]) == ("vagrant", True)
    assert worker["ansible_ssh_common_args"].startswith("-F none ")
    assert worker["ansible_ssh_common_args"].index("ConnectTimeout=60") < worker["ansible_ssh_common_args"].index(
        "ConnectTimeout=10"
    ), "ssh takes the first"
    assert tree["vars"]["lab_slow_machine"] is True


def test_the_steps_bake_nothing() -> None:
    names = [step[0] for step in bootstrap.steps_of(provider_for(CONFIG))]
    assert "image" not in names
    assert "machines" in names


def test_down_destroys(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, lab_cp_1="running", lab_worker_1="shut off")
    state.save(state.LabRecord(created="now", config=CONFIG, bundle="/b"))
    assert not teardown.is_of_hosts("lab")
    VagrantProvider(CONFIG).vagrant.describe(CONFIG)
    assert teardown.remove_machines("lab") == ["lab-cp-1", "lab-worker-1"]
    assert host.calls == ["vagrant destroy --force"]


def test_down_before_anything_was_made_needs_no_vagrant(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    state.save(state.LabRecord(created="now", config=CONFIG, bundle="/b"))
    assert teardown.remove_machines("lab") == []
    assert host.calls == []


# -- refusals


def test_what_is_not_there_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch)
    assert provider_for(CONFIG).preflight() == []
    said = "error: failed to connect to the hypervisor\n"
    monkeypatch.setattr(process, "run", lambda *_, **__: Completed(("virsh",), 1, "", said))
    (silent,) = provider_for(CONFIG).preflight()
    assert silent.text.startswith("libvirt does not answer: error: failed to connect")
    assert silent.hint.startswith("sudo systemctl start libvirtd")
    monkeypatch.setattr(process, "has", lambda program: program == "ssh")
    assert [problem.text.split()[2] for problem in provider_for(CONFIG).preflight()] == ["vagrant", "virsh"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"node": {"ports": [{"host": 80, "machine": 80}]}, "workers": 0}, "node: mounts and ports are of containers"),
        ({"nodes": {"cp-1": {"cpus": 1.5}}}, "nodes.cp-1: a virtual machine has whole cpus, not 1.5"),
        ({"networks": {"pods": "192.168.0.0/16"}}, "networks.pods: 192.168.0.0/16 and the machines' 192.168.56.0/24"),
        ({"ssh": {"user": "me"}}, "ssh: needs provider: hosts"),
        ({"vagrant": {"hypervisor": "vmware"}}, "vagrant.hypervisor"),
    ],
)
def test_what_a_virtual_machine_cannot_be(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.").replace("hypervisor", ".*hypervisor")):
        LabConfig.model_validate({"provider": "vagrant", **more})


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = LabConfig.model_validate({"provider": "vagrant", "node": {"memory": "9000Gi"}})
    with pytest.raises(UsageError, match=r"the machines want .* MiB of memory, and this host has"):
        provider_for(config).refuse(config)
    Host(monkeypatch)
    (problem,) = provider_for(config).obstacles(config, is_baked=True)
    assert "lab-cp-1, lab-worker-1, lab-worker-2 want" in problem.text


def test_machines_and_networks_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, lab_cp_1="shut off")
    other = LabConfig(name="two", provider="vagrant")
    state.save(state.LabRecord(created="now", config=other, bundle="/b"))
    small = LabConfig.model_validate({"provider": "vagrant", "workers": 1, "node": {"memory": "1Mi"}})
    strange, same = provider_for(small).obstacles(small, is_baked=True)
    assert strange.text == "libvirt has a machine lab-cp-1 that this lab did not make"
    assert same.text == "the lab two has the network 192.168.56.0/24 already"
    own = paths.LabPaths("lab").vagrant_state / "machines" / "lab-cp-1" / "libvirt" / "id"
    state.write_file(own, "8f3c")
    apart = small.model_copy(
        update={"networks": small.networks.model_copy(update={"machines": IPv4Network("192.168.57.0/24")})}
    )
    assert provider_for(apart).obstacles(apart, is_baked=True) == []


def test_hosts_are_what_it_is_turned_into() -> None:
    found = as_hosts(CONFIG)
    assert found.machine_names == found.node_names == ["lab-cp-1", "lab-worker-1"] == CONFIG.node_names
