"""Whether this host can run machines in containers: said before anything is changed, each with the mending command."""

from __future__ import annotations

import os
from typing import Any

from labctl import process
from labctl.config import LabConfig
from labctl.errors import ProviderError
from labctl.providers import host, rootless
from labctl.providers.base import Problem
from labctl.providers.engine import DOCKER, PODMAN, Engine

_INSTALL = "sudo apt-get install -y"
_PACKAGES = {"podman": "podman netavark", "docker": "docker.io"}
_HERE = "machines must be on this host: labctl shares their disks and reaches them by their addresses"


def check(engine: Engine) -> list[Problem]:
    """All problems at once, so that nobody mends one after another."""
    problems = host_problems(engine)
    return problems or engine_problems(engine)


def host_problems(engine: Engine) -> list[Problem]:
    """Programs, permissions and limits."""
    if elsewhere := host.why_not():
        return [Problem(elsewhere, rootless.USE_HOSTS)]
    without_root = _without_root(engine)
    if without_root:
        return without_root
    problems = []
    facts = host.look()
    programs = {
        engine.name: _PACKAGES[engine.name],
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "ip": "iproute2",
        "iptables": "iptables",
    }
    if facts.cgroup == 1 and engine.name == PODMAN:
        programs["runc"] = "runc"
    missing = {package: program for program, package in programs.items() if not process.has(program)}
    problems += [
        Problem(f"the program {program} is not installed", f"{_INSTALL} {package}")
        for package, program in missing.items()
    ]
    if not facts.can_sys_admin:
        problems.append(
            Problem("root here lacks CAP_SYS_ADMIN (an unprivileged container?)", "run labctl on the host, or in a VM")
        )
    problems += _limits(facts)
    problems += [
        Problem(f"fs.inotify.{name} is too small for a lab", f"sudo sysctl -w fs.inotify.{name}={wanted}")
        for name, wanted in host.inotify_too_small().items()
    ]
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


def kernel_problems(config: LabConfig) -> list[Problem]:
    """What the machines of `config` need of this host's kernel, which is theirs, beyond what all machines do."""
    problems = []
    if config.cni == "vxlan" and (why := host.why_no_vxlan()):
        text = f"this kernel makes no vxlan devices, which cni: vxlan needs: {why}"
        problems.append(Problem(text, "cni: routed, for containers of one host are on one network"))
    if config.networks.family != "ipv4" and not host.has_ipv6():
        text = f"this kernel has no IPv6, which networks.family: {config.networks.family} needs"
        problems.append(Problem(text, "family: ipv4, or a start of this host without ipv6.disable=1"))
    return problems


def _without_root(engine: Engine) -> list[Problem]:
    """Why machines in this engine need root here; nothing for root."""
    if os.geteuid() != 0:
        return rootless.problems(engine.name)
    if rootless.inside() in ("", engine.name):
        return []
    text = f"labctl is in {rootless.inside()}'s user namespace, where machines of {engine.name} cannot be reached"
    return [Problem(text, f"--provider {engine.name}, or provider: {engine.name} in labctl.yml")]


def engine_problems(engine: Engine) -> list[Problem]:
    """What keeps an installed engine from making machines here."""
    remote = elsewhere(engine)
    if remote:
        return remote
    try:
        said = engine.info()
    except ProviderError as error:
        return [Problem(f"{engine.name} does not work: {error.message}", f"{engine.name} info")]
    if engine.name == PODMAN and host.drops_between_pods():
        text = "this host's firewall drops traffic between pods on podman's networks (iptables, FORWARD policy DROP)"
        return [
            Problem(text, "provider: docker, or sudo iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT")
        ]
    return _out_of_reach(said)


def _out_of_reach(said: dict[str, Any]) -> list[Problem]:
    """Whether the machines of an engine that says this of itself could not be reached, or not have root."""
    if (said.get("host") or {}).get("serviceIsRemote"):
        return [Problem(f"podman is set up to talk to a service; {_HERE}", "podman system connection list")]
    if said.get("OperatingSystem") == "Docker Desktop":
        return [Problem(f"Docker Desktop's engine is in a virtual machine; {_HERE}", "docker context use default")]
    security = said.get("SecurityOptions") or []
    if "name=rootless" in security and rootless.inside() != DOCKER:
        return [Problem("docker's engine here is a rootless one, and machines need root", "docker context use default")]
    if "name=userns" in security:
        return [Problem("this docker gives containers other users than the host's (userns-remap)", "provider: podman")]
    return []


def elsewhere(engine: Engine) -> list[Problem]:
    """Whether the engine is set up to be one on another machine; found out without talking to it."""
    if engine.name == PODMAN:
        names = [name for name in ("CONTAINER_HOST", "CONTAINER_CONNECTION") if os.environ.get(name)]
        text = f"{' and '.join(names)} makes podman talk to a service; {_HERE}"
        return [Problem(text, f"unset {' '.join(names)}")] if names else []
    if not engine.is_installed():
        return []
    at = engine("context", "inspect", "--format", "{{.Endpoints.docker.Host}}", check=False).stdout.strip()
    if not at or at.startswith("unix://"):
        return []
    fix = "unset DOCKER_HOST" if os.environ.get("DOCKER_HOST") else "docker context use default"
    return [Problem(f"docker's engine is at {at}; {_HERE}", fix)]
