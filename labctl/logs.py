"""Collects what a bug report needs: from the machines, the cluster, and labctl's own runs. No keys, no kubeconfig."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from labctl import bundle, doctor, paths, process, remote, state, status
from labctl.errors import LabError
from labctl.providers.base import Machine
from labctl.providers.choose import provider_of

_RUNS_KEPT = 5
_ON_MACHINE = {
    "journal.log": ["journalctl", "--no-pager", "--boot", "--lines", "20000"],
    "units.txt": ["systemctl", "--no-pager", "list-units", "--all"],
    "containers.txt": ["ctr", "--namespace", "k8s.io", "containers", "list"],
    "network.txt": ["sh", "-c", "ip address; ip route; nft list ruleset"],
}
_IN_CLUSTER = {
    "nodes.txt": ["get", "nodes", "-o", "wide"],
    "describe-nodes.txt": ["describe", "nodes"],
    "pods.txt": ["get", "pods", "--all-namespaces", "-o", "wide"],
    "events.txt": ["get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"],
    "controller-manager.log": [
        "logs",
        "-n",
        "kube-system",
        "-l",
        "component=kube-controller-manager",
        "--tail",
        "2000",
    ],
}


def collect(lab: str, into: Path) -> Path:
    """Write ``labctl-logs-<lab>-<utc>.tar.gz`` into the folder `into`. What cannot be had is replaced by the reason."""
    name = f"labctl-logs-{lab}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        provider = provider_of(lab)
        provider.collect_logs(folder)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda machine: _machine(lab, machine, folder / machine.name), provider.machines()))
        _cluster(lab, folder)
        _own(lab, folder)
        archive = into / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, name)
    return archive


def _machine(lab: str, machine: Machine, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, argv in _ON_MACHINE.items():
        try:
            text = remote.run_on(lab, machine, argv) if machine.power == "on" else f"the machine is {machine.power}\n"
        except LabError as error:
            text = f"{error.message}\n"
        (folder / file).write_text(text, encoding="utf-8")


def _cluster(lab: str, folder: Path) -> None:
    files, record = paths.LabPaths(lab), state.get(lab)
    for file, words in _IN_CLUSTER.items():
        try:
            kubectl = bundle.kubectl(bundle.open_bundle(Path(record.bundle)))
            done = process.run(
                [kubectl, "--kubeconfig", files.kubeconfig, "--request-timeout", "10s", *words], check=False
            )
            text = done.stdout + done.stderr
        except LabError as error:
            text = f"{error.message}\n"
        (folder / file).write_text(text, encoding="utf-8")


def _own(lab: str, folder: Path) -> None:
    files = paths.LabPaths(lab)
    for path in (files.record, files.inventory, files.journal):
        if path.exists():
            text = without_passwords(path.read_text(encoding="utf-8"))
            (folder / path.name).write_text(text, encoding="utf-8")
    checks = "\n".join(f"{check.is_ok} {check.name}: {check.seen}" for check in doctor.examine())
    (folder / "doctor.txt").write_text(checks + "\n", encoding="utf-8")
    (folder / "broken.txt").write_text("\n".join(status.look(lab).broken) + "\n", encoding="utf-8")
    runs = sorted(path for path in paths.runs().glob(f"*-{lab}") if path.is_dir() and not path.is_symlink())
    for run in runs[-_RUNS_KEPT:]:
        shutil.copytree(run, folder / "runs" / run.name, ignore=shutil.ignore_patterns("env", "fact_cache"))


def without_passwords(text: str) -> str:
    """`text` without the passwords of URLs, such as a proxy's, and of variables, such as ansible_become_password."""
    text = re.sub(r"://[^/\s\"']+@", "://***@", text)
    return re.sub(
        r"(\w*(?:pass|password|secret|token)\w*\"?: *)[^\s,{}\[\]][^,}\n]*", r"\1***", text, flags=re.IGNORECASE
    )
