"""What must run on each node."""

from __future__ import annotations

import shlex

from labctl.verify import Expect, check
from labctl.verify.node import Node, parts

RUNTIME = ("containerd", "kubelet")
PLUGINS = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")
# curl and the like are on few machines; bash opens a connection by itself.
HEALTHZ = "exec 3<>/dev/tcp/%s/%s && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
A_WHILE_S = 60
_SHOW = "systemctl show --value --property"
IN_FORCE = "".join(
    f'echo "=== {unit} reload"; {_SHOW}=NeedDaemonReload {unit}; echo "=== {unit} says"; {_SHOW}=Environment {unit}; '
    f'echo "=== {unit} reads"; {_SHOW}=EnvironmentFiles {unit} | sed "s/ (.*//" | '
    'while read -r file; do [ ! -f "$file" ] || { cat "$file"; echo; }; done; '
    f'echo "=== {unit} runs"; tr "\\0" "\\n" 2>/dev/null < /proc/$({_SHOW}=MainPID {unit})/environ || true; '
    for unit in RUNTIME
)
ASKED_EARLY = (IN_FORCE,)


@check(
    "NODE-001",
    "containerd and the kubelet run, and start at boot",
    why="Without them the node runs no pods; without enablement it comes back from a power failure as a dead node.",
    fix="systemctl status UNIT on the node says what is wrong; systemctl enable --now UNIT; a machine that does not "
    "answer: labctl status, and labctl up, which starts it again",
)
def test_services_run(machine: Node, expect: Expect) -> None:
    if machine.silence:
        expect("the machine answers over SSH", "yes", machine.silence)
        return
    for unit in RUNTIME:
        state = machine.units[unit]
        expect(f"{unit} is", "active, enabled", f"{state['ActiveState']}, {state['UnitFileState']}")


@check(
    "NODE-002",
    "containerd answers where the kubelet asks it, with all that it needs for pods",
    why="The kubelet starts no container without its runtime; what runs goes on, so that it is noticed late.",
    fix="systemctl restart containerd; journalctl -u containerd says which plugin failed, and why",
)
def test_runtime_answers(node: Node, expect: Expect) -> None:
    socket = node.kubelet["containerRuntimeEndpoint"].removeprefix("unix://")
    done = node.run("timeout 10 ctr --address %s plugins ls", socket)
    said = done.stderr.strip().splitlines()[-1:] or ["nothing, for 10 s"]
    expect(f"answer at {socket}", "yes", "yes" if done.rc == 0 else said[0])
    rows = [line.split() for line in done.stdout.splitlines()]
    states = {f"{row[0]}.{row[1]}": row[-1] for row in rows if len(row) > 1}
    wanted = [*PLUGINS, f"io.containerd.snapshotter.v1.{node.containerd['io.containerd.cri.v1.images']['snapshotter']}"]
    expect.nothing("plugins that are not ok", [name for name in wanted if states.get(name) != "ok"])


@check(
    "NODE-003",
    "the kubelet says that it is healthy",
    why="A kubelet may run and yet be stuck: this is what kubeadm, and whoever watches the node, ask it.",
    fix="journalctl -u kubelet; systemctl restart kubelet",
)
def test_kubelet_is_healthy(node: Node, expect: Expect) -> None:
    at = (node.kubelet.get("healthzBindAddress", "127.0.0.1"), str(node.kubelet.get("healthzPort", 10248)))
    done = node.run("timeout 10 bash -c %s", HEALTHZ % at)
    lines = done.stdout.split() or done.stderr.strip().splitlines()[-1:]
    expect(f"http://{':'.join(at)}/healthz", "ok", lines[-1] if lines else "no answer")


@check(
    "NODE-004",
    "what labctl sets at boot has been set, and will be again",
    why="Mount propagation, IP forwarding and routes to other nodes' pods live in the kernel: a reboot forgets them.",
    fix="systemctl enable --now UNIT; journalctl -u UNIT",
)
def test_settings_outlive_a_reboot(node: Node, expect: Expect) -> None:
    for unit in ("labctl-node", *(["labctl-network"] if node.has_own_network else [])):
        state = node.units[unit]
        expect(f"{unit} is", "active, enabled", f"{state['ActiveState']}, {state['UnitFileState']}")


@check(
    "NODE-005",
    "no unit of the machine has failed",
    why="A failed unit is something that the machine was to do and did not: a mount, a setting, a timer.",
    fix="systemctl status UNIT; systemctl reset-failed UNIT once it is understood",
)
def test_no_unit_failed(node: Node, expect: Expect) -> None:
    failed = node.output("systemctl list-units --state=failed --plain --no-legend")
    expect.nothing("failed units", [line.split()[0] for line in failed.splitlines()])


@check(
    "NODE-051",
    "containerd and the kubelet run as their units say now",
    why="What was changed since they started waits for the next start: then a machine comes back as another one than "
    "it was, at the worst moment.",
    fix="systemctl cat UNIT, and its EnvironmentFiles: take away what is not meant; systemctl daemon-reload; systemctl "
    "restart UNIT puts what is meant into force",
)
def test_units_are_in_force(node: Node, expect: Expect) -> None:
    told = parts(node.output(IN_FORCE))
    for unit in RUNTIME:
        expect(f"{unit} was changed and not reloaded", "no", told[f"{unit} reload"].strip())
        runs = set(told[f"{unit} runs"].splitlines())
        if runs:  # whether it runs at all is NODE-001
            wanted = settings_of(told[f"{unit} says"].splitlines()) | settings_of(told[f"{unit} reads"].splitlines())
            differs = [name for name, value in wanted.items() if f"{name}={value}" not in runs]
            expect.nothing(f"what {unit} would be started with and was not, of {len(wanted)}", sorted(differs))


def settings_of(lines: list[str]) -> dict[str, str]:
    """What systemd makes of NAME=VALUE, quoted or not, in its own words or in a file of them (systemd.exec(5))."""
    words = [word for line in lines if not line.startswith(("#", ";")) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words if "=" in word)


@check(
    "NODE-006",
    "neither containerd nor the kubelet has crashed within the last minute",
    why="systemd starts them again, and each time looks well for some seconds; meanwhile the node starts no pods.",
    fix="journalctl -u UNIT; the last lines before each start say why it ended",
)
def test_services_stay_up(node: Node, expect: Expect) -> None:
    now = float(node.output("cat /proc/uptime").split()[0])
    for unit in RUNTIME:
        state = node.units[unit]
        crashes, seconds = int(state["NRestarts"]), now - int(state["ActiveEnterTimestampMonotonic"]) / 1e6
        text = f"{crashes} times" + (f", up for {seconds:.0f} s since" if crashes else "")
        is_right = crashes == 0 or seconds > A_WHILE_S
        expect.that(f"{unit} started again by systemd", f"not within {A_WHILE_S} s", text, is_right)
