"""Each fault inside a machine, on a real lab: it is seen there and felt outside, and its heal leaves no trace."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from labctl import drills, paths
from labctl.drill import DrillLab, node_faults
from labctl.drill.node_faults import NODE_FAULTS, heal_all
from labctl.errors import LabError
from labctl.kube.objects import Node
from tests.e2e.conftest import Cli

PATIENCE_S = 150
LONG_S = 900
KUBELET, API = 10250, 6443
SLOW = pytest.mark.slow
QUICK = {"kubelet-stop", "partition", "container-kill"}
"""part of `make test`"""
ARGS = {"container-kill": {"namespace": "default", "prefix": "hello-", "times": "2"}}
T = TypeVar("T")


@dataclass
class Site:
    """The shared lab, and the machine that is hit."""

    cli: Cli
    lab: DrillLab
    victim: str

    @property
    def addresses(self) -> dict[str, str]:
        return {machine.name: machine.address for machine in self.lab.power.machines()}

    @property
    def args(self) -> dict[str, str]:
        """What a drill knows."""
        control_planes = [address for name, address in self.addresses.items() if "-cp-" in name]
        workers = [address for name, address in self.addresses.items() if "-worker-" in name]
        return {
            "peers": ",".join(address for name, address in self.addresses.items() if name != self.victim),
            "control_planes": ",".join(control_planes),
            "workers": ",".join(workers),
            "pods": "10.244.0.0/16",
            "services": "10.96.0.0/16",
        }

    @property
    def control_plane(self) -> str:
        return f"{self.cli.lab}-cp-1"

    @property
    def other_worker(self) -> str:
        return next(name for name in self.addresses if "-worker-" in name and name != self.victim)

    def sh(self, command: str, machine: str = "") -> str:
        """Around labctl's SSH, and without failing."""
        argv = [self.cli.engine, "exec", machine or self.victim, "sh", "-c", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    def node(self) -> Node:
        return next(node for node in self.lab.cluster.nodes() if node.name == self.victim)

    def condition(self, kind: str = "Ready") -> str:
        return next((c.status for c in self.node().conditions if c.type == kind), "")

    def accepts(self, port: int, timeout_s: float = 2.0) -> str:
        """What a connection from here comes to."""
        try:
            socket.create_connection((self.addresses[self.victim], port), timeout=timeout_s).close()
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "silent"
        return "accepted"

    def reaches(self, target: str, port: int) -> bool:
        """Whether the machine does."""
        words = f"timeout 2 bash -c '</dev/tcp/{self.addresses[target]}/{port}' && echo yes"
        return self.sh(words) == "yes"

    def pod(self, name: str, *command: str) -> None:
        """Run a pod on the machine."""
        override = f'{{"spec":{{"nodeName":"{self.victim}","terminationGracePeriodSeconds":0}}}}'
        words = ("run", name, "--image=localhost/busybox:1", "--restart=Never", f"--overrides={override}", "--")
        self.cli.kubectl(*words, *command)


@pytest.fixture(scope="module")
def home_of_all(home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABCTL_HOME", str(home))
        yield


@pytest.fixture
def site(lab: Cli, home_of_all: None) -> Iterator[Callable[[str], Site]]:
    """Makes the site of a fault on a machine; afterwards the lab is whole, whatever happened."""
    made: list[Site] = []

    def make(role: str) -> Site:
        view = drills.lab_of(lab.lab)
        made.append(Site(lab, view, f"{lab.lab}-cp-1" if role == "control-plane" else without_bare_pod(view)))
        return made[-1]

    yield make
    for one in made:
        heal_all(one.lab.run_on, one.victim)
        whole(one)
        lab.kubectl("delete", "pod", "talker", "waits", "--ignore-not-found", "--grace-period=0", "--force")
        lab.kubectl("delete", "pods", "--field-selector=status.phase=Failed")
        lab.kubectl("delete", "configmap", "before", "during", "--ignore-not-found")


def without_bare_pod(lab: DrillLab) -> str:
    """A worker whose pods come back when they are evicted."""
    (bare,) = [pod for pod in lab.cluster.pods("default") if pod.name == "hello-world"]
    return next(name for name in lab.machine_names if "-worker-" in name and name != bare.node)


def whole(site: Site) -> None:
    """Until the node is Ready without a taint and all quick checks pass; then no trace of a fault is left there."""

    def is_whole() -> bool:
        try:
            node = site.node()
            return bool(node.ready) and not troubles(node) and site.lab.verify() == []
        except LabError:
            return False

    await_(is_whole, "the lab is whole", LONG_S)
    assert site.sh("ls /var/lib/labctl/faults /run/labctl-fault-* 2>/dev/null") == ""
    assert site.sh("systemctl list-units --all --plain --no-legend 'labctl-undo*' 'labctl-fault*'") == ""
    assert site.sh("systemctl list-unit-files --no-legend 'labctl-fault*'") == ""
    assert "labctl_fault" not in site.sh("nft list tables")
    assert site.sh("ls /run/systemd/system/kubelet.service.d 2>/dev/null") == ""


def troubles(node: Node) -> list[str]:
    """Taints that Kubernetes sets by itself."""
    return [taint.key for taint in node.taints if taint.key.startswith("node.kubernetes.io/")]


def await_(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.1)


# -- what each does, felt elsewhere: up to its yield a look at the lab as it was; after it, with the fault, the proof

Felt = Callable[[Site], Iterator[None]]


def node_is_lost(site: Site) -> Iterator[None]:
    yield
    await_(lambda: site.node().ready is None, "Ready=Unknown")


def says_not_ready(site: Site) -> Iterator[None]:
    yield
    await_(lambda: site.node().ready is False, "Ready=False")


def is_cut_off(site: Site) -> Iterator[None]:
    assert site.reaches(site.other_worker, KUBELET)
    yield
    assert not site.reaches(site.other_worker, KUBELET)
    await_(lambda: site.node().ready is None, "Ready=Unknown")


def reaches_workers_alone(site: Site) -> Iterator[None]:
    yield
    assert site.reaches(site.other_worker, KUBELET)
    assert not site.reaches(site.control_plane, API)
    await_(lambda: site.node().ready is None, "Ready=Unknown")


def is_cut_off_unnoticed(site: Site) -> Iterator[None]:
    yield
    assert not site.reaches(site.other_worker, KUBELET)
    assert site.reaches(site.control_plane, API)
    stays_ready(site)


def gives_no_logs(site: Site) -> Iterator[None]:
    site.pod("talker", "sh", "-c", "echo said; sleep 600")
    await_(lambda: site.lab.cluster.pods("default", "run=talker")[0].ready, "the pod talks")
    assert site.cli.kubectl("logs", "talker") == "said\n"
    yield
    command = site.cli.argv("kubectl", "--", "--request-timeout=3s", "logs", "talker")
    assert subprocess.run(command, env=site.cli.env, capture_output=True, check=False).returncode != 0
    stays_ready(site)


def pods_have_no_dns(site: Site) -> Iterator[None]:
    asks = ("exec", "talker", "--", "timeout", "5", "nslookup", "kubernetes.default.svc.cluster.local")
    site.pod("talker", "sleep", "600")
    await_(lambda: site.lab.cluster.pods("default", "run=talker")[0].ready, "the pod is there")
    site.cli.kubectl(*asks)
    yield
    command = site.cli.argv("kubectl", "--", *asks)
    assert subprocess.run(command, env=site.cli.env, capture_output=True, check=False).returncode != 0
    stays_ready(site)


def stays_ready(site: Site) -> None:
    """For longer than it takes to notice a lost node here (11 s)."""
    end = time.monotonic() + 14
    while time.monotonic() < end:
        assert site.node().ready
        time.sleep(0.5)


def is_started_again(namespace: str, prefix: str, times: int = 1) -> Felt:
    def felt(site: Site) -> Iterator[None]:
        before = restarts(site)
        yield
        await_(lambda: restarts(site) >= before + times, f"{prefix} was started again {times} times", LONG_S)

    def restarts(site: Site) -> int:
        """How often containers of these pods on the machine were started again; 0 while the API does not answer."""
        try:
            pods = [pod for pod in site.lab.cluster.pods(namespace) if pod.name.startswith(prefix)]
        except LabError:
            return 0
        return sum(pod.restarts for pod in pods if pod.node == site.victim)

    return felt


def has_lost_the_scheduler(site: Site) -> Iterator[None]:
    yield
    site.cli.kubectl("run", "waits", "--image=localhost/busybox:1", "--restart=Never", "--", "true")
    time.sleep(5)  # an absence cannot be awaited
    (pod,) = site.lab.cluster.pods("default", "run=waits")
    assert pod.node == ""


def api_comes_to(what: str) -> Felt:
    def felt(site: Site) -> Iterator[None]:
        assert site.accepts(API) == "accepted"
        yield
        await_(lambda: site.accepts(API) == what, f"the API's port is {what}")

    return felt


def api_does_not_write(site: Site) -> Iterator[None]:
    site.cli.kubectl("create", "configmap", "before")
    yield
    command = site.cli.argv("kubectl", "--", "--request-timeout=5s", "create", "configmap", "during")
    refused = subprocess.run(command, env=site.cli.env, capture_output=True, text=True, check=False)
    assert refused.returncode != 0


def api_refuses_to_write_and_reads(site: Site) -> Iterator[None]:
    yield from api_does_not_write(site)
    site.cli.kubectl("get", "configmap", "before")


def api_writes_slowly(site: Site) -> Iterator[None]:
    def takes_s() -> float:
        start = time.monotonic()
        for number in range(10):
            site.cli.kubectl("create", "configmap", f"slow-{number}-{start}")
        return time.monotonic() - start

    before = takes_s()
    yield
    assert takes_s() > before + 1


def api_is_not_trusted(site: Site) -> Iterator[None]:
    def untrusted() -> bool:
        trust = ssl.create_default_context(cadata=site.sh("cat /etc/kubernetes/pki/ca.crt"))
        try:
            with socket.create_connection((site.addresses[site.victim], API), timeout=3) as plain:
                trust.wrap_socket(plain, server_hostname=site.addresses[site.victim]).close()
        except ssl.SSLCertVerificationError as error:
            return "expired" in str(error)
        except OSError:
            return False
        return False

    assert not untrusted()
    yield
    await_(untrusted, "the certificate has expired")


def is_under(condition: str) -> Felt:
    def felt(site: Site) -> Iterator[None]:
        images = site.sh("ctr -n k8s.io images ls -q")
        free = host_free()
        yield
        await_(lambda: site.condition(condition) == "True", condition)
        assert site.condition() == "True"
        assert site.sh("ctr -n k8s.io images ls -q") == images, "there is no registry to get them from again"
        for what, before in free.items():
            assert host_free()[what] > before - 1.5 * 1024**3, f"{what} of the host"

    return felt


def host_free() -> dict[str, int]:
    disk = os.statvfs(paths.cache())
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {"disk": disk.f_bavail * disk.f_frsize, "memory": int(memory["MemAvailable"].split()[0]) * 1024}


def pods_start_no_process(site: Site) -> Iterator[None]:
    site.pod("talker", "sleep", "600")
    await_(lambda: site.lab.cluster.pods("default", "run=talker")[0].ready, "the pod is there")
    site.cli.kubectl("exec", "talker", "--", "true")
    yield
    command = site.cli.argv("kubectl", "--", "exec", "talker", "--", "true")
    assert subprocess.run(command, env=site.cli.env, capture_output=True, check=False).returncode != 0
    subprocess.run(["true"], check=True)  # the host's own processes start
    stays_ready(site)


def cpus_are_busy_within_bounds(site: Site) -> Iterator[None]:
    def used_s() -> float:
        unit = "systemctl show --property=MainPID --value labctl-fault-cpu-saturation"
        return sum(float(line) for line in site.sh(f"ps -o cputimes= --ppid $({unit})").split())

    yield
    start, before = time.monotonic(), used_s()
    time.sleep(8)
    rate = (used_s() - before) / (time.monotonic() - start)
    bound = float(site.sh("nproc")) - 1
    assert 0.3 < rate < bound * 1.3
    assert site.node().ready


FELT: dict[str, Felt] = {
    "kubelet-stop": node_is_lost,
    "kubelet-crash": node_is_lost,
    "containerd-stop": says_not_ready,
    "runtime-and-kubelet-stop": node_is_lost,
    "kube-proxy-kill": is_started_again("kube-system", "kube-proxy-"),
    "container-kill": is_started_again("default", "hello-", 2),
    "static-pod-remove": has_lost_the_scheduler,
    "apiserver-kill": is_started_again("kube-system", "kube-apiserver-"),
    "apiserver-stop": api_comes_to("refused"),
    "etcd-kill": is_started_again("kube-system", "etcd-"),
    "etcd-stop": api_does_not_write,
    "partition": is_cut_off,
    "partition-in": is_cut_off,
    "partition-out": is_cut_off,
    "partition-control-plane": reaches_workers_alone,
    "kubelet-port-block": gives_no_logs,
    "workers-cut": is_cut_off_unnoticed,
    "dns-lost": pods_have_no_dns,
    "api-refused": api_comes_to("refused"),
    "api-dropped": api_comes_to("silent"),
    "disk-full": is_under("DiskPressure"),
    "memory-pressure": is_under("MemoryPressure"),
    "pid-exhaustion": pods_start_no_process,
    "cpu-saturation": cpus_are_busy_within_bounds,
    "kubelet-cert-expired": node_is_lost,
    "apiserver-cert-expired": api_is_not_trusted,
    "etcd-slow": api_writes_slowly,
    "etcd-quota": api_refuses_to_write_and_reads,
}
UNSUPPORTED = {"net-delay": "no netem", "net-loss": "no netem", "clock-skew": "a container has its host's clock"}
"""test_vagrant.py has the clock"""


def test_each_fault_is_looked_at() -> None:
    assert set(FELT) | set(UNSUPPORTED) == set(NODE_FAULTS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else SLOW) for name in FELT])
def test_it_is_seen_and_felt_and_its_heal_leaves_no_trace(site: Callable[[str], Site], name: str) -> None:
    fault = NODE_FAULTS[name]
    here = site(fault.role)
    if name == "container-kill":
        # Where the fault before it has left them.
        here.victim = next(
            pod.node for pod in here.lab.cluster.pods("default") if pod.owner_kind == "ReplicaSet" and pod.ready
        )
    run_on, victim = here.lab.run_on, here.victim
    args = here.args | ARGS.get(name, {})
    assert fault.unsupported(run_on, victim, args) == ""
    assert fault.is_active(run_on, victim) == ""
    felt = FELT[name](here)
    next(felt)
    fault.inject(run_on, victim, LONG_S, args)
    await_(lambda: fault.is_active(run_on, victim), "the machine shows it")
    assert (here.accepts(KUBELET) != "accepted") == fault.silences_beacon
    assert list(felt) == []
    assert fault.is_active(run_on, victim), "until it is healed"
    fault.heal(run_on, victim)
    assert fault.is_active(run_on, victim) == ""
    fault.heal(run_on, victim)
    whole(here)
    assert heal_all(run_on, victim) == []


@SLOW
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_this_kernel_cannot_do_is_said(site: Callable[[str], Site], name: str) -> None:
    here = site("worker")
    why = NODE_FAULTS[name].unsupported(here.lab.run_on, here.victim, here.args)
    if not why:
        pytest.skip("this kernel has netem")
    assert UNSUPPORTED[name] in why
    with pytest.raises(LabError, match=UNSUPPORTED[name]):
        NODE_FAULTS[name].inject(here.lab.run_on, here.victim, LONG_S, here.args)
    whole(here)


# -- undone by whom, and when


def test_a_person_injects_and_heals_with_ansible(site: Callable[[str], Site], tmp_path: Path) -> None:
    here = site("worker")

    def play(*words: str) -> subprocess.CompletedProcess[str]:
        binaries = Path(sys.executable).parent
        inventory = paths.LabPaths(here.cli.lab).inventory
        playbook = paths.playbooks() / "faults" / "kubelet-stop.yml"
        env = {**here.cli.env, "ANSIBLE_CONFIG": str(paths.ansible_config())}
        argv = [str(binaries / "ansible-playbook"), "-i", str(inventory), str(playbook), *words]
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    refused = play()
    assert refused.returncode != 0
    assert "is for one machine at a time: add --limit" in refused.stdout
    assert play("--limit", here.victim).returncode == 0
    assert here.sh("systemctl is-active kubelet") == "inactive"
    healed = play("--limit", here.victim, "-e", "fault_state=healed")
    assert healed.returncode == 0, healed.stdout
    assert "changed=1" in healed.stdout
    assert here.sh("systemctl is-active kubelet") == "active"
    assert "changed=0" in play("--limit", here.victim, "-e", "fault_state=healed").stdout
    whole(here)


@SLOW
@pytest.mark.parametrize("name", ["kubelet-stop", "partition", "static-pod-remove", "kubelet-cert-expired"])
def test_the_machine_undoes_it_by_itself(site: Callable[[str], Site], name: str) -> None:
    fault = NODE_FAULTS[name]
    here = site(fault.role)
    fault.inject(here.lab.run_on, here.victim, 8, here.args)
    assert here.sh("ls /var/lib/labctl/faults") == name
    await_(lambda: here.sh("ls /var/lib/labctl/faults") == "", "the machine has undone it", 30)
    assert fault.is_active(here.lab.run_on, here.victim) == ""
    whole(here)


CUT = {
    "kubelet-cert-expired": '  write "$CURRENT" <"$own/pair"',
    "apiserver-stop": '  rm -f "$MANIFESTS/$1.yaml"',
    "memory-pressure": "  systemctl restart kubelet",
    "disk-full": "  systemctl start kubelet",
}
"""after which line of the script its inject is killed"""


@SLOW
@pytest.mark.parametrize("name", CUT)
def test_an_inject_that_was_killed_in_the_middle_is_healed(
    site: Callable[[str], Site], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault = NODE_FAULTS[name]
    here = site(fault.role)
    text = node_faults.script(name)
    assert CUT[name] in text
    with monkeypatch.context() as patch:
        patch.setattr(node_faults, "script", lambda _: text.replace(CUT[name], f"{CUT[name]}; kill -KILL $$", 1))
        with pytest.raises(LabError):
            fault.inject(here.lab.run_on, here.victim, LONG_S, here.args)
    assert here.sh("ls /var/lib/labctl/faults") == name
    assert heal_all(here.lab.run_on, here.victim) == [name]
    whole(here)


@SLOW
@pytest.mark.parametrize("name", ["kubelet-cert-expired", "static-pod-remove", "disk-full", "partition"])
def test_a_reboot_heals(site: Callable[[str], Site], name: str) -> None:
    fault = NODE_FAULTS[name]
    here = site(fault.role)
    fault.inject(here.lab.run_on, here.victim, LONG_S, here.args)
    await_(lambda: fault.is_active(here.lab.run_on, here.victim), "the machine shows it")
    here.cli.ask_engine("kill", "--signal", str(int(signal.SIGKILL)), here.victim)
    here.cli.ask_engine("start", here.victim)
    whole(here)
