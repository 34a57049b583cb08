"""The controller where there is no Linux, no root and no container engine: macOS, as far as a Linux can tell.

tests/elsewhere.py takes away what only Linux has, for labctl's own code; the machines are stood in for by an `ssh` that
says what it is told. What macOS itself would say, nobody has seen here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
OF_CONTAINERS = {
    *("container", "disk", "doctor", "engine", "engines", "host", "launch", "needs", "network", "node_image"),
    *("obstacles", "preflight", "process", "rootless", "size"),
}
"""Unit tests of what is for containers, or starts Linux' own programs."""
FILES = ("test_*.py", "report/test_*.py", "drill/test_*.py", "verify/test_target.py", "bundle/test_registry.py")
OF_MACHINES = {"drill/test_node_faults.py", "drill/test_kubelet_stop.py"}
NOT = ("sigkill", "waits", "others_may_finish", "ctrl_c", "works_here", "locale_is", "plain_pytest", "showing_an_event")
"""Words in the names of tests that take their time, or ask this machine as one of the lab's."""
OF_THE_MACHINE = ("chmod", "mkdir", "rm", "sed", "sleep", "touch", "true")
"""for tests whose machine is this one"""
CONFIG = """
provider: hosts
ssh: {user: you, known_hosts: "known hosts"}
hosts:
  one: {role: control-plane, address: 192.0.2.11}
  two: {address: 192.0.2.12}
"""
SSH = """#!/bin/sh
for word in "$@"; do last=$word; done
case $last in
  *"id -u"*) echo 0 ;;
  *"uname -m"*) echo x86_64 ;;
  *no-python*) ;;
  *) exit ${SSH_SAYS:-0} ;;
esac
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home like one on macOS, a PATH with what a controller needs, and a labctl.yml."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is root's alone
        home = Path(folder) / "Users" / "Ada Lovelace"
        for name in ("bin", "empty"):
            (home / name).mkdir(parents=True)
        for program in ("sh", "date", "git", *OF_THE_MACHINE):
            (home / "bin" / program).symlink_to(str(shutil.which(program)))
        (home / "bin/ssh").write_text(SSH)
        (home / "bin/ssh").chmod(0o755)
        (home / "labctl.yml").write_text(CONFIG)
        (home / "known hosts").touch()
        if os.geteuid() == 0:
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield home


def elsewhere(home: Path, *words: str, ssh: int = 0, folder: str = "") -> subprocess.CompletedProcess[str]:
    """Python with these words, there; for root as nobody, who may read this checkout and nothing else."""
    caps = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *caps]
    env = {"HOME": str(home), "PATH": str(home / "bin"), "PYTHONPATH": str(ROOT), "SSH_SAYS": str(ssh)}
    argv = [*(drop if os.geteuid() == 0 else []), sys.executable, *words]
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    program = shutil.which(argv[0])
    assert program
    return subprocess.run([program, *argv[1:]], cwd=home / folder, env=env, capture_output=True, text=True, check=False)


def labctl(home: Path, *words: str, ssh: int = 0, folder: str = "") -> subprocess.CompletedProcess[str]:
    program = "import tests.elsewhere; from labctl.cli.main import main; main()"
    return elsewhere(home, "-c", program, *words, ssh=ssh, folder=folder)


def test_the_tests_of_what_a_controller_does_pass_there(home: Path) -> None:
    unit = ROOT / "tests/unit"
    left_out = {unit / f"test_{name}.py" for name in OF_CONTAINERS} | {unit / name for name in OF_MACHINES}
    files = sorted({path for pattern in FILES for path in unit.glob(pattern)} - left_out)
    words = ["-p", "tests.elsewhere", "-p", "no:cacheprovider", "-q", "-c", str(ROOT / "pyproject.toml")]
    words += ["-k", " and ".join(f"not {word}" for word in NOT), *map(str, files)]
    done = elsewhere(home, "-m", "pytest", *words, folder="empty")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_doctor_says_what_each_provider_needs(home: Path) -> None:
    done = labctl(home, "doctor", "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    checks = {(check["needed_by"], check["name"]): check for check in told["checks"]}
    assert told["asked_for"] == "hosts", "labctl.yml does"
    assert checks["containers", "machines"]["seen"] == "containers that are machines need Linux, and this is macOS"
    assert "provider: hosts" in checks["containers", "machines"]["fix"]
    assert all(checks["", name]["ok"] for name in ("LABCTL_HOME", "XDG_CACHE_HOME", "bundle", "ssh", "ansible"))
    assert "none in PATH" in checks["hosts", "kubectl"]["seen"]
    assert str(home / "Library/Application Support/labctl") in checks["", "LABCTL_HOME"]["seen"]


def test_doctor_without_a_labctl_yml_judges_containers(home: Path) -> None:
    done = labctl(home, "doctor", folder="empty")
    assert done.returncode == 4
    assert "1 to mend.\nLabs on machines that you have (provider: hosts) need nothing of it." in done.stdout


@pytest.mark.parametrize("words", [("up",), ("up", "--provider", "podman"), ("down",)])
def test_a_lab_in_containers_is_refused_in_a_sentence(words: tuple[str, ...], home: Path) -> None:
    done = labctl(home, *words, folder="empty")
    assert done.returncode == 4, done.stderr
    assert "containers that are machines need Linux, and this is macOS" in done.stderr
    assert "→ provider: hosts" in done.stderr


def bring_a_bundle(home: Path) -> Path:
    """A bundle of Kubernetes for amd64 with nothing in it, as the file that labctl.yml names."""
    program = (
        "from pathlib import Path; from labctl.bundle import Bundle, Manifest, pack;"
        "m = Manifest(kubernetes='1.37.2', arch='amd64', source='download', recipe='0' * 16,"
        " components={}, programs=[], images=[]);"
        "Path('b').mkdir(); Path('b/manifest.json').write_text(m.text());"
        "pack(Bundle(Path('b'), m), Path('bundle.tar'), print)"
    )
    done = elsewhere(home, "-c", program)
    assert done.returncode == 0, done.stderr
    with (home / "labctl.yml").open("a") as file:
        file.write("bundle: {source: file, file: bundle.tar}\n")
    return home / "Library/Application Support/labctl/labs/lab"


def test_up_goes_from_labctl_yml_over_ssh_to_ansible(home: Path) -> None:
    """As far as a machine must really be one: its SSH breaks then, and the sentence is that of a playbook."""
    lab = bring_a_bundle(home)
    done = labctl(home, "up", ssh=255)
    assert done.returncode == 6, done.stderr
    assert "cannot be reached" in done.stderr
    inventory = (lab / "inventory.yml").read_text()
    assert f"ControlPath=/tmp/labctl-{NOBODY if os.geteuid() == 0 else os.geteuid()}/" in inventory
    for words, code, said in (
        (("inventory", "--path"), 0, str(lab / "inventory.yml")),
        (("status", "--output", "json"), 0, '"provider": "hosts"'),
        (("drill", "--list"), 0, "worker-poweroff"),
        (("drill", "control"), 2, "consent: {drills: true}"),
        (("kubectl", "--", "get", "nodes"), 8, "no kubeconfig yet"),
        (("verify",), 1, "CIS-1.1.1"),
    ):
        done = labctl(home, *words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert said in done.stdout + done.stderr, words
    (lab / "kubeconfig").write_text("apiVersion: v1")
    (home / "bin/kubectl").write_text('#!/bin/sh\necho "$KUBECONFIG" "$@"')
    (home / "bin/kubectl").chmod(0o755)
    done = labctl(home, "kubectl", "--", "get", "nodes")
    assert done.stdout == f"{lab / 'kubeconfig'} get nodes\n", "the lab's own kubectl is for Linux"


def test_a_drill_says_which_machine_it_was_started_on(home: Path) -> None:
    done = elsewhere(home, "-c", "import tests.elsewhere; from labctl import drills; print(drills.host(object()).os)")
    assert done.stdout == "macOS 15.5\n", done.stderr
