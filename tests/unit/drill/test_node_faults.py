"""The table of faults inside machines, their files, and what their scripts share, on a machine of stubs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from labctl import paths
from labctl.drill import node_faults
from labctl.drill.node_faults import NODE_FAULTS, heal_all
from labctl.errors import LabError
from labctl.process import run

FAULTS = paths.playbooks() / "faults"
EACH = pytest.mark.parametrize("name", NODE_FAULTS)
TOY = """
FAULT=toy
fault_supported() { [ -e "$ROOT/etc/original" ] || { echo "no original here"; return 1; }; }
fault_inject() {
  save "$ROOT/etc/original"
  if [ -n "$(arg die)" ]; then kill -KILL $$; fi
  echo "broken by $(arg who nobody)" | write "$ROOT/etc/original"
}
fault_heal() {
  if [ -e "$ROOT/heal-fails" ]; then echo "not yet" >&2; return 1; fi
  restore "$ROOT/etc/original"
}
fault_active() { grep broken "$ROOT/etc/original"; }
fault_main "$@"
"""
SYSTEMCTL = """
echo "systemctl $*" >>"$LABCTL_FAULT_ROOT/calls"
for unit; do :; done
case $1 in
  stop) touch "$LABCTL_FAULT_ROOT/stopped.$unit" ;;
  start) rm -f "$LABCTL_FAULT_ROOT/stopped.$unit" ;;
  is-active) case $unit in labctl-*) exit 3 ;; esac
    [ ! -e "$LABCTL_FAULT_ROOT/stopped.$unit" ] && echo active || { echo inactive; exit 3; } ;;
esac
"""
SYSTEMD_RUN = """
echo "systemd-run $*" >>"$LABCTL_FAULT_ROOT/calls"
cp "$LABCTL_FAULT_ROOT/etc/original" "$LABCTL_FAULT_ROOT/armed"
"""


class StubMachine:
    """A folder, and programs that note what they are called with and find nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "bin"
        for folder in (self.programs, root / "etc"):
            folder.mkdir(parents=True)
        (root / "etc" / "original").write_text("whole\n")
        for name in ("ctr", "findmnt", "ip", "mount", "nft", "pgrep", "pkill", "ps", "tc", "umount", "unshare"):
            self.program(name, "exit 1")
        self.program("systemctl", SYSTEMCTL)
        self.program("systemd-run", SYSTEMD_RUN)

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {"LABCTL_FAULT_ROOT": str(self.root), "PATH": f"{self.programs}:{os.environ['PATH']}"}

    def __call__(self, machine: str, argv: Sequence[str]) -> str:
        return run(argv, env=self.env).stdout

    def sh(self, *words: str, text: str = TOY, **env: str) -> subprocess.CompletedProcess[str]:
        script = self.root / "sent"
        script.write_text(paths.fault_lib().read_text() + text)
        argv = ["sh", str(script), *words]
        return subprocess.run(argv, env={**os.environ, **self.env, **env}, capture_output=True, text=True, check=False)

    @property
    def original(self) -> str:
        return (self.root / "etc" / "original").read_text().strip()

    @property
    def calls(self) -> list[str]:
        calls = self.root / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def traces(self) -> list[str]:
        """What of faults is left there."""
        kept = self.root / "var" / "lib" / "labctl"
        units = self.root / "etc" / "systemd" / "system"
        found = [
            path for folder in (kept, units) for path in folder.rglob("*") if not path.is_dir() or path.name == "toy"
        ]
        return sorted(path.name for path in found)


@pytest.fixture
def machine(tmp_path: Path) -> StubMachine:
    return StubMachine(tmp_path / "machine")


# -- the table and its files


def test_each_fault_has_its_script_and_its_playbook_and_there_are_no_others() -> None:
    assert {path.stem for path in (FAULTS / "scripts").glob("*")} == set(NODE_FAULTS)
    assert {path.stem for path in FAULTS.glob("*.yml")} == set(NODE_FAULTS)


@pytest.mark.parametrize(("link", "is_known"), [("02:00:00:00:00:0b", True), ("", False)])
def test_a_partition_goes_by_addresses_of_the_link_too(machine: StubMachine, link: str, *, is_known: bool) -> None:
    machine.program("bash", "exit 0")
    machine.program(
        "ip", f'case "$*" in *neigh*) [ -z "{link}" ] || echo "192.0.2.11 dev eth0 lladdr {link} STALE" ;; esac'
    )
    rules = machine.sh(text="drop_from 192.0.2.11 10.0.1.0/24; drop_to 192.0.2.11 10.0.1.0/24\n").stdout
    assert "ip saddr { 192.0.2.11,10.0.1.0/24 } counter drop" in rules
    assert "ip daddr { 192.0.2.11,10.0.1.0/24 } counter drop" in rules
    assert (f"ether saddr {{ {link} }} counter drop" in rules) == is_known
    assert (f"ether saddr {{ {link} }} ct mark set" in rules) == is_known
    assert rules.count("{") == rules.count("}")


def test_a_partition_is_of_both_families_and_spares_the_connection_it_came_by(machine: StubMachine) -> None:
    machine.program("ip", "")
    words = "192.0.2.11 10.0.1.0/24 fd00::11 fd00:10:1::/64"
    rules = machine.sh(text=f"drop_from {words}; drop_to {words}\n", SSH_CONNECTION="fd00::1 55000 fd00::10 22").stdout
    for side in ("saddr", "daddr"):
        assert f"ip {side} {{ 192.0.2.11,10.0.1.0/24 }} counter drop" in rules
        assert f"ip6 {side} {{ fd00::11,fd00:10:1::/64 }} counter drop" in rules
    assert "ip6 saddr { fd00::1 } tcp dport 22 accept" in rules
    assert "ip saddr" not in machine.sh(text="drop_from fd00::11\n").stdout, "an empty set is an error to nft"


@EACH
def test_a_script_is_of_the_fault_that_names_it(name: str) -> None:
    text = paths.fault_script(name).read_text()
    assert re.findall(r'^FAULT="?([a-z-]+)"?$', text, re.MULTILINE) == [name]
    assert text.endswith('\nfault_main "$@"\n')
    for function in ("fault_inject", "fault_heal", "fault_active"):
        assert f"\n{function}()" in text


@EACH
def test_a_script_is_a_shells(name: str, tmp_path: Path) -> None:
    whole = tmp_path / "script"
    whole.write_text(node_faults.script(name))
    done = subprocess.run(["sh", "-n", str(whole)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@EACH
def test_shellcheck_finds_nothing(name: str, tmp_path: Path) -> None:
    whole = tmp_path / "script"
    whole.write_text(node_faults.script(name))
    # Functions of the common part that this fault does not use, or that the other part calls.
    unused = "SC2317,SC2329,SC2034,SC2119,SC2120"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "-s", "sh", "-e", unused, str(whole)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


@EACH
def test_a_playbook_is_for_machines_that_can_have_the_fault(name: str) -> None:
    ((play,), fault) = yaml.safe_load((FAULTS / f"{name}.yml").read_text()), NODE_FAULTS[name]
    groups = {"any": "control_planes:workers", "worker": "workers", "control-plane": "control_planes"}
    assert play["hosts"] == groups[fault.role]
    assert [task["vars"] for task in play["tasks"]] == [{"fault_name": name}]
    assert f"playbooks/faults/{name}.yml --limit" in (FAULTS / f"{name}.yml").read_text()


def test_a_kubelet_that_is_gone_is_silent() -> None:
    silent = {fault.name for fault in NODE_FAULTS.values() if fault.silences_beacon}
    assert silent == {name for name in NODE_FAULTS if name.startswith(("kubelet-stop", "kubelet-c", "runtime-and"))}
    assert all(NODE_FAULTS[name].node_goes == "unreachable" for name in silent)


# -- what the scripts share


def test_the_timer_is_armed_before_anything_is_changed(machine: StubMachine) -> None:
    done = machine.sh("inject", "90", "who=me")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.original == "broken by me"
    assert (machine.root / "armed").read_text() == "whole\n"
    (armed,) = [call for call in machine.calls if call.startswith("systemd-run")]
    assert "--unit=labctl-undo-toy" in armed
    assert "--on-active=90s" in armed
    assert armed.endswith("/var/lib/labctl/faults/toy/script heal")


def test_heal_puts_things_back_and_leaves_no_trace(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    assert machine.sh("active").stdout == "broken by nobody\n"
    done = machine.sh("heal")
    assert (done.returncode, done.stdout, machine.original) == (0, "toy undone\n", "whole")
    assert machine.sh("active").returncode == 1
    assert machine.traces() == []
    assert "systemctl stop labctl-undo-toy.timer" in machine.calls


def test_a_second_heal_does_nothing(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    machine.sh("heal")
    done = machine.sh("heal")
    assert (done.returncode, done.stdout, machine.original) == (0, "", "whole")


def test_the_machines_own_copy_heals_and_does_not_end_itself(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    own = machine.root / "var" / "lib" / "labctl" / "faults" / "toy" / "script"
    env = {**os.environ, **machine.env, "LABCTL_UNDO": "1"}
    done = subprocess.run(["sh", str(own), "heal"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, machine.original, machine.traces()) == (0, "whole", [])
    assert "systemctl stop labctl-undo-toy.service" not in machine.calls[machine.calls.index(armed(machine)) :]


def armed(machine: StubMachine) -> str:
    return next(call for call in machine.calls if call.startswith("systemd-run"))


def test_what_was_cut_off_in_the_middle_is_healed(machine: StubMachine) -> None:
    assert machine.sh("inject", "90", "die=yes").returncode == -signal.SIGKILL
    assert "script" in machine.traces()
    done = machine.sh("heal")
    assert (done.stdout, machine.original, machine.traces()) == ("toy undone\n", "whole", [])


def test_a_second_inject_keeps_the_original_of_the_first(machine: StubMachine) -> None:
    machine.sh("inject", "90", "who=one")
    machine.sh("inject", "90", "who=two")
    assert machine.original == "broken by two"
    machine.sh("heal")
    assert machine.original == "whole"


def test_at_the_next_boot_what_is_in_force_is_undone(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    units = machine.root / "etc" / "systemd" / "system"
    assert (units / "multi-user.target.wants" / "labctl-faults.service").is_symlink()
    (command,) = re.findall(r"^ExecStart=(.*)", (units / "labctl-faults.service").read_text(), re.MULTILINE)
    env = {**os.environ, **machine.env, "LABCTL_UNDO": "1"}
    subprocess.run(command.replace("$$", "$"), shell=True, env=env, check=True)  # noqa: S602 (as systemd would)
    assert (machine.original, machine.traces()) == ("whole", [])


def test_a_heal_that_fails_stays_armed(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    (machine.root / "heal-fails").touch()
    done = machine.sh("heal")
    assert (done.returncode, done.stderr) == (1, "not yet\n")
    (machine.root / "heal-fails").unlink()
    assert machine.sh("heal").stdout == "toy undone\n"


def test_what_is_not_possible_is_said_and_not_begun(machine: StubMachine) -> None:
    (machine.root / "etc" / "original").unlink()
    assert (machine.sh("supported").returncode, machine.sh("supported").stdout) == (1, "no original here\n")
    done = machine.sh("inject", "90")
    assert (done.returncode, done.stderr) == (2, "toy is not possible here: no original here\n")
    assert (machine.traces(), machine.calls) == ([], [])


def test_it_is_undone_even_if_no_mark_of_it_is_left(machine: StubMachine) -> None:
    (machine.root / "etc" / "original").write_text("broken by somebody\n")
    assert machine.sh("heal").stdout == "toy undone\n"


def test_arguments_are_kept_for_those_that_have_none(machine: StubMachine) -> None:
    text = TOY.replace("grep broken", "arg who; grep -q broken")
    machine.sh("inject", "90", "a=b", "who=me", "c=", text=text)
    assert machine.sh("active", text=text).stdout == "me\n"


def test_a_process_that_was_killed_is_told_from_one_with_its_number(machine: StubMachine) -> None:
    text = """
FAULT=toy
fault_inject() { kill_noted "$(arg pid)"; }
fault_heal() { :; }
fault_active() { noted_are_gone sleep; }
fault_main "$@"
"""
    with subprocess.Popen(["sleep", "60"]) as victim:
        (machine.root / "etc" / "original").touch()
        machine.sh("inject", "90", f"pid={victim.pid}", text=text)
        assert victim.wait(10) == -signal.SIGKILL
        assert "sleep was killed" in machine.sh("active", text=text).stdout
        noted = machine.root / "var" / "lib" / "labctl" / "faults" / "toy" / "killed"
        began = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19]
        noted.write_text(f"{os.getpid()} {began}\n")
        assert machine.sh("active", text=text).returncode == 1, "it lives"


def test_one_at_a_time(machine: StubMachine) -> None:
    slow = TOY.replace(
        'save "$ROOT', 'touch "$ROOT/begun"; while [ ! -e "$ROOT/go" ]; do sleep 0.05; done; save "$ROOT', 1
    )
    script = machine.root / "slow"
    script.write_text(paths.fault_lib().read_text() + slow)
    env = {**os.environ, **machine.env}
    with subprocess.Popen(["sh", str(script), "inject", "90"], env=env) as injecting:
        await_((machine.root / "begun").exists)
        with subprocess.Popen(["sh", str(script), "heal"], env=env) as healing:
            with pytest.raises(subprocess.TimeoutExpired):
                healing.wait(0.3)
            (machine.root / "go").touch()
            assert (injecting.wait(10), healing.wait(10)) == (0, 0)
    assert machine.original == "whole"


def await_(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- from Python


def test_a_kubelet_is_stopped_seen_and_started(machine: StubMachine) -> None:
    fault = NODE_FAULTS["kubelet-stop"]
    args: Mapping[str, str] = {"peers": "10.0.0.1,10.0.0.2", "pods": "10.244.0.0/16"}
    assert fault.unsupported(machine, "m", args) == ""
    assert fault.is_active(machine, "m") == ""
    fault.inject(machine, "m", 89.2, args)
    assert any("--on-active=90s" in call for call in machine.calls), "never before labctl would have"
    assert fault.is_active(machine, "m") == "systemd says that the kubelet is inactive"
    fault.heal(machine, "m")
    assert fault.is_active(machine, "m") == ""


DATE = """
cd "$LABCTL_FAULT_ROOT"
offset=$(cat offset 2>/dev/null || echo 0)
now=$(awk -v by="$offset" '{ printf "%.6f", 1e9 + $1 + by }' proc/uptime)
case $1 in
  +%s.%N) echo "$now" ;;
  --set=@*) awk -v to="${1#--set=@}" -v now="$now" -v by="$offset" 'BEGIN { printf "%.6f", by + to - now }' \
    >offset.new && mv offset.new offset ;;
esac
"""


@pytest.fixture
def clock(machine: StubMachine) -> StubMachine:
    """A machine whose clock is `offset` seconds wrong, with an uptime that a test may change."""
    machine.program("date", DATE)
    machine.program("systemd-detect-virt", "exit 1")
    machine.program(
        "systemctl", SYSTEMCTL.replace("active) case", 'active) [ "$unit" = systemd-timesyncd ] || exit 3; case')
    )
    (machine.root / "proc" / "sys" / "kernel" / "random").mkdir(parents=True)
    (machine.root / "proc" / "sys" / "kernel" / "random" / "boot_id").write_text("one\n")
    (machine.root / "proc" / "uptime").write_text("100.00 1.00\n")
    return machine


def skewed(machine: StubMachine) -> float:
    return float((machine.root / "offset").read_text())


@pytest.mark.parametrize("seconds", [600, -90])
def test_a_clock_is_set_wrong_and_by_what_has_passed_right_again(clock: StubMachine, seconds: int) -> None:
    fault = NODE_FAULTS["clock-skew"]
    fault.inject(clock, "m", 60, {"seconds": str(seconds)})
    assert skewed(clock) == pytest.approx(seconds, abs=0.02)
    assert f"{seconds}.0" in fault.is_active(clock, "m")
    assert (clock.root / "stopped.systemd-timesyncd").exists()
    (clock.root / "proc" / "uptime").write_text("177.25 1.00\n")
    fault.heal(clock, "m")
    assert skewed(clock) == pytest.approx(0, abs=0.02)
    assert not (clock.root / "stopped.systemd-timesyncd").exists()
    assert clock.traces() == []


def test_after_a_reboot_the_clock_is_right_and_stays(clock: StubMachine) -> None:
    fault = NODE_FAULTS["clock-skew"]
    fault.inject(clock, "m", 60, {})
    (clock.root / "proc" / "sys" / "kernel" / "random" / "boot_id").write_text("two\n")
    (clock.root / "proc" / "uptime").write_text("5.00 1.00\n")
    (clock.root / "offset").write_text("0")
    assert fault.is_active(clock, "m") == ""
    fault.heal(clock, "m")
    assert skewed(clock) == 0


def test_a_containers_clock_is_its_hosts(clock: StubMachine) -> None:
    clock.program("systemd-detect-virt", "exit 0")
    fault = NODE_FAULTS["clock-skew"]
    assert fault.unsupported(clock, "m", {}) == "a container has its host's clock"
    with pytest.raises(LabError, match="a container has its host's clock"):
        fault.inject(clock, "m", 60, {})


def test_why_not_is_a_sentence(machine: StubMachine) -> None:
    machine.program("unshare", "echo 'Specified qdisc kind is unknown.' >&2; exit 2")
    why = NODE_FAULTS["net-loss"].unsupported(machine, "m", {"peers": "10.0.0.1"})
    assert why == "no netem in this kernel: Specified qdisc kind is unknown."
    why = NODE_FAULTS["net-loss"].unsupported(machine, "m", {"percent": "60"})
    assert why == "percent= is at most 50: SSH must get through"


def test_an_error_does_not_show_the_script(machine: StubMachine) -> None:
    machine.program("systemctl", 'case $* in *"stop kubelet") echo "it will not" >&2; exit 1;; esac')
    with pytest.raises(LabError) as caught:
        NODE_FAULTS["kubelet-stop"].inject(machine, "m", 90, {})
    assert caught.value.message == "kubelet-stop on m, inject: it will not"


def test_heal_all_finds_nothing_on_a_whole_machine(machine: StubMachine) -> None:
    assert heal_all(machine, "m") == []


def test_heal_all_looks_at_the_machine_and_at_what_it_keeps(machine: StubMachine) -> None:
    machine.sh("inject", "90")  # a fault that this labctl does not know
    (machine.root / "stopped.containerd").touch()
    assert heal_all(machine, "m") == ["toy", "containerd-stop"]
    assert (machine.original, machine.traces()) == ("whole", [])
    assert heal_all(machine, "m") == []


def test_heal_all_goes_on_after_a_failure(machine: StubMachine) -> None:
    machine.sh("inject", "90")
    (machine.root / "heal-fails").touch()
    (machine.root / "stopped.containerd").touch()
    with pytest.raises(LabError, match="toy: not yet"):
        heal_all(machine, "m")
    assert not (machine.root / "stopped.containerd").exists()


def test_it_all_fits_into_one_argument(machine: StubMachine) -> None:
    sent: list[int] = []

    def measure(_: str, argv: Sequence[str]) -> str:
        sent.extend(len(word) for word in argv)
        return ""

    heal_all(measure, "m")
    assert max(sent) < 64 * 1024, "the kernel takes 128 KiB"
