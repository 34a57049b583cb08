"""A machine as the checks of tests/nodes look at it: what several of them need is asked for once."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from labctl.verify.cluster import why_silent
from labctl.verify.programs import Programs, Settings, UnreadableError, from_yaml
from labctl.verify.shell import Shell

UNITS = ("containerd", "kubelet", "labctl-node", "labctl-network")
_UNIT = "Id,LoadState,ActiveState,UnitFileState,NRestarts,MainPID,ActiveEnterTimestampMonotonic"
_USERS = "../self/uid_map"
_KERNEL = (
    _USERS,
    "fs/inotify/max_user_instances",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/random/boot_id",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
_SILENCE = "true"
_UNITS = f"systemctl show --property={_UNIT} {' '.join(UNITS)}"
_SETTINGS = f"cd /proc/sys && grep -s '' {' '.join(_KERNEL)}"
_KUBELET_FILE, _CONTAINERD_FILE = "/var/lib/kubelet/config.yaml", "/etc/containerd/config.toml"
_KUBELET, _CONTAINERD = f"cat {_KUBELET_FILE}", f"cat {_CONTAINERD_FILE}"
_IMAGES = "timeout 10 ctr --namespace k8s.io images ls -q"
_ROUTES = "ip -json -4 route; ip -json -6 route"
_IDENTITY = (
    'echo "=== machine-id"; cat /etc/machine-id; echo; echo "=== boot"; cat /proc/sys/kernel/random/boot_id; '
    'echo "=== product UUID"; cat /sys/class/dmi/id/product_uuid 2>/dev/null; echo "=== hostname"; hostname; '
    'echo "=== trusts"; openssl x509 -noout -fingerprint -sha256 -in /etc/kubernetes/pki/ca.crt; '
    'echo "=== links"; ip -json address'
)
USUAL = (_SILENCE, _UNITS, _SETTINGS, _KUBELET, _CONTAINERD, _IMAGES, _ROUTES, _IDENTITY)
"""What most checks stand on: all nodes are asked for it at once."""


@dataclass
class Node:
    """A machine of the inventory."""

    host: Host

    @cached_property
    def shell(self) -> Shell:
        """The way in."""
        return Shell(self.host)

    @cached_property
    def programs(self) -> Programs:
        """What runs on it, with which arguments and files."""
        return Programs(self.run, self.name)

    @cached_property
    def variables(self) -> dict[str, Any]:
        """What the inventory says of it."""
        variables: dict[str, Any] = self.host.ansible.get_variables()
        return variables

    @property
    def name(self) -> str:
        """As in the inventory."""
        return str(self.variables["inventory_hostname"])

    @property
    def address(self) -> str:
        """The one that the other nodes reach it at."""
        return str(self.variables["node_address"])

    @property
    def is_control_plane(self) -> bool:
        """Whether the inventory says so."""
        return "control_planes" in self.variables["group_names"]

    @property
    def addresses(self) -> list[str]:
        """That one, and in a cluster with both families the other family's."""
        return [self.address, *filter(None, [self.variables.get("node_second_address")])]

    @property
    def pod_subnets(self) -> list[str]:
        """Those of its own pods, one for each family of addresses."""
        return str(self.variables["node_pod_subnet"]).split(",")

    @property
    def pod_networks(self) -> list[str]:
        """The networks of all pods, likewise."""
        return str(self.variables.get("lab_pod_network", "10.244.0.0/16")).split(",")

    @property
    def service_network(self) -> IPv4Network | IPv6Network:
        """The network of the Services' addresses; the first one, which has the API's and the DNS's."""
        return ip_network(str(self.variables.get("lab_service_network", "10.96.0.0/16")).partition(",")[0])

    @property
    def has_own_network(self) -> bool:
        """Whether the pod network is labctl's own."""
        return bool(self.variables.get("lab_cni", "routed") != "none")

    @cached_property
    def bundle(self) -> dict[str, Any] | None:
        """The manifest of the bundle that it was made from, where that is at hand."""
        manifest = Path(self.variables.get("lab_bundle", "/nowhere")) / "manifest.json"
        return json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else None

    @cached_property
    def silence(self) -> str:
        """Why it does not answer at all; empty if it does."""
        try:
            self.output(_SILENCE)
        except RuntimeError as error:
            return why_silent(error)
        return ""

    def run(self, command: str, *words: str) -> CommandResult:
        """What came of a command, %s in it standing for `words`, quoted. Raises `RuntimeError` if there is no way."""
        return self.shell.run(command, *words)

    def output(self, command: str, *words: str) -> str:
        """What a command prints. Raises `AssertionError` if it fails."""
        done = self.run(command, *words)
        assert done.rc == 0, f"{command}: {done.stderr.strip() or done.rc}"
        return str(done.stdout)

    @cached_property
    def units(self) -> dict[str, dict[str, str]]:
        """What systemd says of `UNITS`, by name without `.service`."""
        text = self.output(_UNITS)
        blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n"))
        return {block["Id"].removesuffix(".service"): block for block in blocks}

    @cached_property
    def kernel(self) -> dict[str, str]:
        """Settings below /proc/sys, by path; those that this kernel has."""
        text = self.run(_SETTINGS).stdout
        return dict(line.split(":", 1) for line in text.splitlines())

    @property
    def is_in_user_namespace(self) -> bool:
        """Whether its users are others on its host, as without root: the kernel's own settings are the host's then."""
        return "4294967295" not in self.kernel[_USERS]

    @cached_property
    def kubelet(self) -> dict[str, Any]:
        """The kubelet's configuration. Raises `UnreadableError`."""
        config = from_yaml(_KUBELET_FILE, self._file(_KUBELET_FILE))
        if not config:
            raise UnreadableError(_KUBELET_FILE, "it is empty")
        return config

    @cached_property
    def containerd(self) -> dict[str, dict[str, Any]]:
        """The configuration of containerd: its plugins, by name. Raises `UnreadableError`."""
        try:
            plugins = tomllib.loads(self._file(_CONTAINERD_FILE)).get("plugins")
        except tomllib.TOMLDecodeError as error:
            raise UnreadableError(_CONTAINERD_FILE, str(error)) from error
        if not isinstance(plugins, dict):
            raise UnreadableError(_CONTAINERD_FILE, "it has no plugins")
        return Settings(_CONTAINERD_FILE, plugins)

    def _file(self, path: str) -> str:
        done = self.run(f"cat {path}")
        if done.rc != 0:
            raise UnreadableError(path, done.stderr.strip())
        return str(done.stdout)

    @cached_property
    def images(self) -> set[str] | None:
        """The names of the images that containerd has for Kubernetes; None if it does not answer."""
        done = self.run(_IMAGES)
        return set(done.stdout.split()) if done.rc == 0 else None

    @cached_property
    def routes(self) -> list[dict[str, Any]]:
        """Routes of the main table, as `ip -json` says them."""
        return [route for line in self.output(_ROUTES).splitlines() for route in json.loads(line)]

    @cached_property
    def cni(self) -> dict[str, str]:
        """The texts of containerd's CNI configurations, by file name, in the order in which it looks at them."""
        folder = self.containerd["io.containerd.cri.v1.runtime"]["cni"]["conf_dir"]
        loop = 'for f in *.conf *.conflist *.json; do [ ! -e "$f" ] || { echo "=== $f"; cat "$f"; echo; }; done'
        return dict(sorted(parts(self.output(f"cd %s && {loop}", folder)).items()))

    @cached_property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """The static pods' manifests, by file name; an empty dict for one that cannot be read."""
        folder = self.kubelet["staticPodPath"]
        loop = 'for f in *; do [ ! -f "$f" ] || { echo "=== $f"; cat "$f"; echo; }; done'
        texts = parts(self.output(f"cd %s 2>/dev/null || exit 0; {loop}", folder))
        return {name: _manifest(text) for name, text in sorted(texts.items())}

    @cached_property
    def identity(self) -> dict[str, str]:
        """What no two machines may have in common, and two things that they may: the kernel's boot, the link's name."""
        told = {name: text.strip() for name, text in parts(self.output(_IDENTITY)).items()}
        links = json.loads(told.pop("links"))
        own = [link for link in links if self.address in (info["local"] for info in link["addr_info"])]
        first = own[0] if own else {}
        return {**told, "MAC address": first.get("address", ""), "link": first.get("ifname", "")}


def _manifest(text: str) -> dict[str, Any]:
    try:
        return from_yaml("", text)
    except UnreadableError:
        return {}


def parts(text: str) -> dict[str, str]:
    r"""Split at lines ``=== NAME``.

    >>> parts("=== a\n1\n2\n=== b\n3\n")
    {'a': '1\n2\n', 'b': '3\n'}
    """
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("=== "):
            name = line.removeprefix("=== ").strip()
            found[name] = ""
        elif name:
            found[name] += line
    return found
