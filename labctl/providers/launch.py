"""The engine's words that start a machine in a container on this host."""

from __future__ import annotations

from pathlib import Path

from labctl.providers import host
from labctl.providers.engine import PODMAN, Engine, label_words
from labctl.providers.host import HostFacts

# Without --privileged, docker mounts /sys and every cgroup hierarchy read-only.
_WRITABLE_INIT = (
    "mount -o remount,rw /sys; "
    "while read -r _ at _; do case $at in /sys/fs/cgroup*) mount -o remount,bind,rw $at;; esac; done </proc/mounts; "
    "exec /sbin/init"
)


def machine(engine: Engine, name: str, var: Path, labels: dict[str, str], image: str, *options: str) -> list[str]:
    """The command that starts the machine `name` with the disk `var`; `options` are the engine's, such as a network."""
    facts = host.look()
    words = ["run", "--detach", "--pull=never", "--name", name, "--hostname", name, "--cgroupns=private"]
    words += ["--tmpfs", "/run", "--tmpfs", "/tmp", "--pids-limit=-1"]  # noqa: S108 (inside the machine)
    words.append("--stop-signal=SIGRTMIN+3")  # systemd's for a clean end
    words += host.run_arguments(facts)
    if facts.cgroup == 1:
        # systemd >= 256 boots on cgroup v1 only when told twice.
        legacy = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
        words += ["--env", f"SYSTEMD_PROC_CMDLINE={legacy}"]
    own, command = _podman(var, facts) if engine.name == PODMAN else _docker(var, facts)
    return [*words, *own, *label_words(labels), *options, image, *command]


def _podman(var: Path, facts: HostFacts) -> tuple[list[str], list[str]]:
    words = ["--privileged", "--log-driver=k8s-file", "--volume", f"{var}:/var:exec,suid,dev"]
    # On cgroup v1, podman's systemd mode mounts the host's whole name=systemd hierarchy into every machine, where their
    # systemds then remove each other's groups. Without it, each has its own; the image brings what else the mode does.
    return [*words, "--systemd=false" if facts.cgroup == 1 else "--systemd=always"], []


def _docker(var: Path, facts: HostFacts) -> tuple[list[str], list[str]]:
    words = ["--volume", f"{var}:/var"]
    if facts.can_sys_resource or host.in_user_namespace():
        return [*words, "--privileged"], []
    # --privileged asks for every capability there is, and fails where one cannot be had; podman asks for what is there.
    words += ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--device=/dev/kmsg", "--device-cgroup-rule=a *:* rwm"]
    for profile in ("seccomp", "apparmor", "systempaths"):
        words.append(f"--security-opt={profile}=unconfined")
    return words, ["sh", "-c", _WRITABLE_INIT]
