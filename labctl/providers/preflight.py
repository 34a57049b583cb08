"""Whether this host can run machines in containers: said before anything is changed, each with the mending command."""

from __future__ import annotations

import os

from labctl import process
from labctl.providers import host
from labctl.providers.base import Problem
from labctl.providers.engine import Engine

_INSTALL = "sudo apt-get install -y"


def check(engine: Engine) -> list[Problem]:
    """All problems at once, so that nobody mends one after another."""
    problems = []
    if os.geteuid() != 0:
        problems.append(
            Problem(
                "machines in containers need root here: they run systemd and a kubelet",
                "sudo make lab, or sudo labctl up",
            )
        )
    programs = {
        engine.name: "podman netavark",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "ip": "iproute2",
        "iptables": "iptables",
    }
    facts = host.look()
    if facts.cgroup == 1:
        programs["runc"] = "runc"
    missing = {package: program for program, package in programs.items() if not process.has(program)}
    problems += [
        Problem(f"the program {program} is not installed", f"{_INSTALL} {package}")
        for package, program in missing.items()
    ]
    if os.geteuid() == 0 and not facts.can_sys_admin:
        problems.append(
            Problem("root here lacks CAP_SYS_ADMIN (an unprivileged container?)", "run labctl on the host, or in a VM")
        )
    if os.geteuid() == 0:
        problems += _limits(facts)
        problems += [
            Problem(f"fs.inotify.{name} is too small for a lab", f"sudo sysctl -w fs.inotify.{name}={wanted}")
            for name, wanted in host.inotify_too_small().items()
        ]
    if not problems:
        done = engine("info", "--format", "json", check=False)
        if done.code != 0:
            problems.append(
                Problem(f"{engine.name} does not work: {done.stderr.strip()[-300:]}", f"{engine.name} info")
            )
    return problems


def _limits(facts: host.HostFacts) -> list[Problem]:
    problems = []
    if facts.max_files < host.LEAST_FILES:
        text = f"a process may open {facts.max_files} files here, a machine needs {host.LEAST_FILES}"
        problems.append(Problem(text, "raise the hard limit: ulimit -Hn 65536, or nofile in /etc/security/limits.conf"))
    if not host.has_nftables():
        text = "the kernel has no nftables (CONFIG_NF_TABLES), which kube-proxy and the pod network need"
        problems.append(Problem(text, "sudo modprobe nf_tables, or another kernel"))
    return problems
