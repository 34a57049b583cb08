"""The programs of Kubernetes on a node, their arguments and files: looked up once, then remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import yaml
from testinfra.backend.base import CommandResult

from labctl.verify.expect import NothingToSeeError

_PROGRAMS = "kube-apiserver|kube-controller|kube-scheduler|etcd|kubelet|kube-proxy"
"""As the kernel calls them: 15 characters at most."""
_TREES = "/etc/kubernetes /etc/cni/net.d /var/lib/cni/networks"


class UnreadableError(NothingToSeeError):
    """A file of a machine is not what it should be: `path`, and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} cannot be read: {why}", f"mend {path} there, or bring it back")
        self.path = path


class Settings(dict[str, Any]):
    """What the file at `path` says. A setting that is not there is told with the file's name."""

    def __init__(self, path: str, found: dict[str, Any]) -> None:
        super().__init__(found)
        self.path = path

    def __missing__(self, key: str) -> Any:  # noqa: ANN401 (there is none)
        raise UnreadableError(self.path, f"it has no {key}")


def from_yaml(path: str, text: str) -> Settings:
    """What the file says; nothing if it is empty. Raises `UnreadableError`."""
    try:
        found = yaml.safe_load(text) or {}
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UnreadableError(path, f"{line}{error.problem}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(path, " ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise UnreadableError(path, "it holds no settings")
    return Settings(path, found)


@dataclass(frozen=True)
class File:
    """A file or folder: permission bits, and owner as ``root:root``."""

    mode: int
    owner: str
    is_folder: bool


@dataclass
class Programs:
    """Those of one node."""

    run: Callable[..., CommandResult]
    """as `labctl.verify.shell.Shell.run`"""
    node: str = ""
    """what the inventory calls the machine"""

    @cached_property
    def hostname(self) -> str:
        """What the machine calls itself, as the kubelet writes it."""
        return str(self.run("hostname").stdout).strip().lower()

    def runs(self, program: str) -> bool:
        """Whether the program runs."""
        return program in self._commands

    def flags(self, program: str) -> dict[str, str]:
        """The arguments that the program runs with, by name. One that does not run is for other checks to find."""
        if not self.runs(program):
            pytest.skip(f"{program} does not run")
        parts = [word.removeprefix("--").partition("=") for word in self._commands[program][1:]]
        return {name: value if equals else "true" for name, equals, value in parts}

    @cached_property
    def _commands(self) -> dict[str, list[str]]:
        """Of each program its process's number, and its arguments."""
        lines: list[str] = self.run("pgrep --list-full --exact %s", _PROGRAMS).stdout.splitlines()
        found = [line.split() for line in lines]
        return {program.rpartition("/")[2]: [pid, *words] for pid, program, *words in found}

    @cached_property
    def kubelet(self) -> dict[str, Any]:
        """The kubelet's configuration file."""
        return self.document(self.flags("kubelet").get("config", ""))

    def kubelet_setting(self, path: str) -> Any:  # noqa: ANN401 (whatever YAML holds)
        """What the kubelet's configuration says at ``a.b.c``; None if nothing."""
        found: Any = self.kubelet
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found

    @cached_property
    def kube_proxy(self) -> dict[str, Any]:
        """kube-proxy's configuration, from its own file system."""
        return self.document(self._in_kube_proxy + self.flags("kube-proxy").get("config", ""))

    @cached_property
    def proxy_kubeconfig(self) -> str:
        """kube-proxy's kubeconfig, in its own file system."""
        path: str = self.kube_proxy["clientConnection"]["kubeconfig"]
        return self._in_kube_proxy + path

    @property
    def _in_kube_proxy(self) -> str:
        return f"/proc/{self._commands['kube-proxy'][0]}/root"

    @cached_property
    def audit_policy(self) -> dict[str, Any]:
        """The API server's audit policy."""
        return self.document(self.flags("kube-apiserver").get("audit-policy-file", ""))

    @cached_property
    def encryption(self) -> list[tuple[list[str], str]]:
        """Which resources the API server encrypts in etcd, and with which provider it writes. Keys are not kept."""
        path = self.flags("kube-apiserver").get("encryption-provider-config", "")
        rules = self.document(path).get("resources", [])
        return [(rule["resources"], next(iter(rule["providers"][0]))) for rule in rules]

    def document(self, path: str) -> dict[str, Any]:
        """A YAML file; empty if there is no path. Raises `UnreadableError`."""
        if not path:
            return {}
        # The control plane's programs work in /, whoever asks works elsewhere.
        path = "/" + path.lstrip("/")
        done = self.run("cat %s", path)
        if done.rc != 0:
            raise UnreadableError(path, done.stderr.strip())
        return from_yaml(path, done.stdout)

    @cached_property
    def files(self) -> dict[str, File]:
        """The files and folders that the benchmark speaks of, by path."""
        kubelet = self.flags("kubelet")
        single = [kubelet.get("config", ""), kubelet.get("kubeconfig", ""), self.client_ca, *self.kubelet_units]
        if self.runs("etcd"):
            single.append(self.flags("etcd")["data-dir"])
        if self.runs("kube-proxy"):
            single.append(self.proxy_kubeconfig)
        # What does not exist is missing from the answer; the check that wanted it says so.
        command = f"find {_TREES} -type f -o -type d | xargs stat -Lc '%%a %%U:%%G %%F:%%n' " + "%s " * len(single)
        lines: list[str] = self.run(command, *single).stdout.splitlines()
        return dict(_file(line) for line in lines)

    @cached_property
    def client_ca(self) -> str:
        """The file of the authority whose certificates the kubelet believes."""
        path = self.kubelet_setting("authentication.x509.clientCAFile") or ""
        return self.flags("kubelet").get("client-ca-file", path)

    @cached_property
    def kubelet_units(self) -> list[str]:
        """The kubelet's unit file and whatever adds to it."""
        paths: list[str] = self.run("systemctl show kubelet -P FragmentPath -P DropInPaths").stdout.split()
        return paths


def _file(line: str) -> tuple[str, File]:
    mode, owner, rest = line.split(" ", 2)
    kind, _, path = rest.partition(":")
    return path, File(int(mode, 8), owner, kind == "directory")
