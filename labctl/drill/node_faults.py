"""Faults inside a machine: a table of what each does, and the way to the shell script that does it.

The scripts are `playbooks/faults/scripts/NAME.sh`, each behind `playbooks/faults/lib.sh`, whose head says what they
answer to. A person runs the same ones by `playbooks/faults/NAME.yml`. docs/faults.md has a line for each.
"""

from __future__ import annotations

import gzip
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from labctl import paths
from labctl.errors import LabError
from labctl.process import CommandError

RunOn = Callable[[str, Sequence[str]], str]
"""(machine, argv) -> what the command printed"""

# The script comes packed, as the first word: it must be a file there, of which the machine keeps a copy.
_UNPACK = (
    'dir=$(mktemp -d) && trap \'rm -rf "$dir"\' EXIT && printf %s "$1" | base64 -d | gzip -d >"$dir/script" || exit 2; '
    'shift; code=0; said=$(sh "$dir/script" "$@") || code=$?; '
)
_DO = _UNPACK + 'printf "%s\\n" "$said"; exit $code'
_EVIDENCE = _UNPACK + 'case $code in 0) printf "%s\\n" "$said" ;; 1) ;; *) exit $code ;; esac'
_REASON = _UNPACK + 'case $code in 1) printf "%s\\n" "$said" ;; 0) ;; *) exit $code ;; esac'

_HEAL_ALL = """
dir=$(dirname "$0")
failed=
undo() {
  if sh "$1" heal >"$dir/said" 2>&1; then
    if grep -q ' undone$' "$dir/said"; then echo "$2"; fi
  else
    failed="$failed$2: $(cat "$dir/said"); "
  fi
}
for script in "${LABCTL_FAULT_ROOT:-}"/var/lib/labctl/faults/*/script; do
  if [ -f "$script" ]; then undo "$script" "$(basename "$(dirname "$script")")"; fi
done
for script in "$dir"/*.sh; do
  cat "$dir/lib" "$script" >"$dir/whole"
  undo "$dir/whole" "$(basename "$script" .sh)"
done
if [ -n "$failed" ]; then echo "$failed" >&2 && exit 2; fi
"""
_END = "END_OF_WHAT_LABCTL_SENT"


@dataclass(frozen=True)
class NodeFault:
    """Something that is done inside one machine and undone there. The words are about the machine."""

    name: str
    doing: str
    undoing: str
    proven: str
    unproven: str
    role: Literal["any", "worker", "control-plane"] = "any"
    """where it can be injected"""
    node_goes: Literal["unreachable", "not-ready", "stays"] = "stays"
    """what Kubernetes sees of the node: no heartbeats, a kubelet that says Ready=False itself, nothing"""
    keeps_serving: bool = True
    """whether the machine's pods answer as long as they are in a Service"""
    silences_beacon: bool = False
    """whether the kubelet's port 10250 stops accepting connections of the host"""

    def unsupported(self, run_on: RunOn, machine: str, args: Mapping[str, str]) -> str:
        """Why it cannot be injected there; nothing if it can."""
        return self._run(run_on, machine, _REASON, "supported", *_pairs(args))

    def inject(self, run_on: RunOn, machine: str, undo_after_s: float, args: Mapping[str, str]) -> None:
        """Do it; `undo_after_s` later the machine undoes it by itself. One that is in force is undone first."""
        self._run(run_on, machine, _DO, "inject", str(math.ceil(undo_after_s)), *_pairs(args))

    def heal(self, run_on: RunOn, machine: str) -> None:
        """Undo it, however far it came. Idempotent."""
        self._run(run_on, machine, _DO, "heal")

    def is_active(self, run_on: RunOn, machine: str) -> str:
        """The evidence, as the machine is now, that it is in force; nothing if it is not."""
        return self._run(run_on, machine, _EVIDENCE, "active")

    def _run(self, run_on: RunOn, machine: str, shell: str, *words: str) -> str:
        what = f"{self.name} on {machine}, {words[0]}"
        return _send(run_on, machine, what, shell, script(self.name), *words)


def script(name: str) -> str:
    """The whole script of the fault `name`, as it runs on a machine."""
    return _lib() + paths.fault_script(name).read_text(encoding="utf-8")


def heal_all(run_on: RunOn, machine: str) -> list[str]:
    """Undo, in one round trip, all faults that are in force on `machine` or left something there; their names.

    What the machine keeps of faults is healed first, by its own copies; then each fault of this table looks at the
    machine. Raises `LabError` if something could not be undone; the others are undone all the same.
    """
    files = {"lib": _lib()}
    files |= {f"{name}.sh": paths.fault_script(name).read_text(encoding="utf-8") for name in NODE_FAULTS}
    writes = [f'cat >"$(dirname "$0")/{name}" <<\'{_END}\'\n{text}{_END}\n' for name, text in files.items()]
    return _send(run_on, machine, f"healing {machine}", _DO, "".join(writes) + _HEAL_ALL).split()


def _lib() -> str:
    return paths.fault_lib().read_text(encoding="utf-8")


def _pairs(args: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in args.items()]


def _send(run_on: RunOn, machine: str, what: str, shell: str, text: str, *words: str) -> str:
    """Run `text` on the machine. An error says `what` failed, without the script, which is long and packed."""
    packed = b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    try:
        return run_on(machine, ("sh", "-c", shell, "labctl-fault", packed, *words)).strip()
    except CommandError as error:
        reason = error.done.stderr.strip() or f"exit code {error.done.code}, and not a word"
        raise LabError(f"{what}: {reason}", error.hint) from error


_TABLE = (
    NodeFault(
        "kubelet-stop",
        doing="stopping its kubelet",
        undoing="starting its kubelet",
        proven="has no kubelet any more",
        unproven="lost its kubelet",
        node_goes="unreachable",
        silences_beacon=True,
    ),
    NodeFault(
        "kubelet-crash",
        doing="killing its kubelet whenever it starts",
        undoing="letting its kubelet live",
        proven="has a kubelet that dies as it starts",
        unproven="had its kubelet killed again and again",
        node_goes="unreachable",
        silences_beacon=True,
    ),
    NodeFault(
        "containerd-stop",
        doing="stopping its container runtime",
        undoing="starting its container runtime",
        proven="has no container runtime any more",
        unproven="lost its container runtime",
        node_goes="not-ready",
    ),
    NodeFault(
        "runtime-and-kubelet-stop",
        doing="stopping its kubelet and its container runtime",
        undoing="starting its container runtime and its kubelet",
        proven="has neither kubelet nor container runtime any more",
        unproven="lost its kubelet and its container runtime",
        node_goes="unreachable",
        silences_beacon=True,
    ),
    NodeFault(
        "kube-proxy-kill",
        doing="killing its kube-proxy",
        undoing="nothing but taking the traces away",
        proven="had its kube-proxy killed",
        unproven="had its kube-proxy killed",
    ),
    NodeFault(
        "container-kill",
        doing="killing the containers of some of its pods",
        undoing="killing no more of them",
        proven="had containers killed",
        unproven="had containers killed",
        keeps_serving=False,
    ),
    NodeFault(
        "static-pod-remove",
        doing="moving the manifest of a static pod away",
        undoing="moving the manifest back",
        proven="has lost a static pod",
        unproven="lost a static pod",
        role="control-plane",
    ),
    NodeFault(
        "apiserver-kill",
        doing="killing its API server",
        undoing="nothing but taking the traces away",
        proven="had its API server killed",
        unproven="had its API server killed",
        role="control-plane",
    ),
    NodeFault(
        "apiserver-stop",
        doing="stopping its API server",
        undoing="starting its API server",
        proven="has no API server any more",
        unproven="lost its API server",
        role="control-plane",
    ),
    NodeFault(
        "etcd-kill",
        doing="killing its etcd",
        undoing="nothing but taking the traces away",
        proven="had its etcd killed",
        unproven="had its etcd killed",
        role="control-plane",
    ),
    NodeFault(
        "etcd-stop",
        doing="stopping its etcd",
        undoing="starting its etcd",
        proven="has no etcd any more",
        unproven="lost its etcd",
        role="control-plane",
    ),
    NodeFault(
        "partition",
        doing="cutting it off from all other machines",
        undoing="letting it through to the other machines",
        proven="is cut off from all other machines",
        unproven="was cut off",
        role="worker",
        node_goes="unreachable",
        keeps_serving=False,
    ),
    NodeFault(
        "partition-in",
        doing="dropping what the other machines send to it",
        undoing="letting the other machines' packets in",
        proven="hears nothing of the other machines",
        unproven="was cut off in one direction",
        role="worker",
        node_goes="unreachable",
        keeps_serving=False,
    ),
    NodeFault(
        "partition-out",
        doing="dropping what it sends to the other machines",
        undoing="letting its packets out",
        proven="is not heard by the other machines",
        unproven="was cut off in one direction",
        role="worker",
        node_goes="unreachable",
        keeps_serving=False,
    ),
    NodeFault(
        "partition-control-plane",
        doing="cutting it off from the control planes",
        undoing="letting it through to the control planes",
        proven="is cut off from the control planes",
        unproven="was cut off from the control planes",
        role="worker",
        node_goes="unreachable",
        keeps_serving=False,
    ),
    NodeFault(
        "kubelet-port-block",
        doing="keeping the control planes from its kubelet's port",
        undoing="letting the control planes reach its kubelet",
        proven="has a kubelet that control planes cannot reach",
        unproven="lost the way from the control planes to its kubelet",
        role="worker",
    ),
    NodeFault(
        "workers-cut",
        doing="cutting it off from the other workers",
        undoing="letting it through to the other workers",
        proven="is cut off from the other workers",
        unproven="was cut off from the other workers",
        role="worker",
        keeps_serving=False,
    ),
    NodeFault(
        "dns-lost",
        doing="dropping its pods' questions to the cluster's DNS",
        undoing="letting its pods ask the cluster's DNS",
        proven="has pods without DNS",
        unproven="lost its pods' DNS",
    ),
    NodeFault(
        "api-refused",
        doing="refusing connections to its API server",
        undoing="accepting connections to its API server",
        proven="refuses connections to its API server",
        unproven="refused connections to its API server",
        role="control-plane",
    ),
    NodeFault(
        "api-dropped",
        doing="dropping what is sent to its API server",
        undoing="letting its API server be reached",
        proven="drops what is sent to its API server",
        unproven="dropped what is sent to its API server",
        role="control-plane",
    ),
    NodeFault(
        "net-delay",
        doing="delaying what it sends",
        undoing="sending without delay",
        proven="sends with a delay",
        unproven="had its packets delayed",
    ),
    NodeFault(
        "net-loss",
        doing="losing some of what it sends",
        undoing="losing nothing of what it sends",
        proven="loses some of what it sends",
        unproven="lost packets",
    ),
    NodeFault(
        "disk-full",
        doing="filling its kubelet's file system",
        undoing="giving its kubelet its disk back",
        proven="has a kubelet whose file system is full",
        unproven="had its kubelet's file system filled",
        role="worker",
    ),
    NodeFault(
        "memory-pressure",
        doing="taking memory until its kubelet finds it short",
        undoing="giving the memory back",
        proven="has a kubelet that finds memory short",
        unproven="had its memory taken",
        role="worker",
    ),
    NodeFault(
        "pid-exhaustion",
        doing="letting its pods start no further process",
        undoing="letting its pods start processes",
        proven="has pods that can start no process",
        unproven="had its pods' processes bounded",
        role="worker",
    ),
    NodeFault(
        "cpu-saturation",
        doing="saturating its CPUs",
        undoing="ending the busy loops",
        proven="has busy loops on its CPUs",
        unproven="had its CPUs saturated",
    ),
    NodeFault(
        "clock-skew",
        doing="setting its clock wrong",
        undoing="setting its clock right",
        proven="has a clock that is wrong",
        unproven="had its clock set wrong",
        role="worker",
    ),
    NodeFault(
        "kubelet-cert-expired",
        doing="replacing its kubelet's certificate by one that has run out",
        undoing="giving its kubelet the right certificate back",
        proven="has a kubelet whose certificate has run out",
        unproven="had its kubelet's certificate replaced",
        node_goes="unreachable",
        silences_beacon=True,
    ),
    NodeFault(
        "apiserver-cert-expired",
        doing="replacing its API server's certificate by one that has run out",
        undoing="giving its API server the right certificate back",
        proven="has an API server whose certificate has run out",
        unproven="had its API server's certificate replaced",
        role="control-plane",
    ),
    NodeFault(
        "etcd-slow",
        doing="slowing its etcd's disk down",
        undoing="letting its etcd write at full speed",
        proven="has an etcd on a slow disk",
        unproven="had its etcd slowed down",
        role="control-plane",
    ),
    NodeFault(
        "etcd-quota",
        doing="raising its etcd's alarm NOSPACE",
        undoing="disarming its etcd's alarm",
        proven="has an etcd that refuses to write",
        unproven="had its etcd's alarm raised",
        role="control-plane",
    ),
)

NODE_FAULTS: dict[str, NodeFault] = {fault.name: fault for fault in _TABLE}
