"""What must run on each node."""

from __future__ import annotations

from testinfra.host import Host

from labctl.verify import Expect, check


@check(
    "NODE-001",
    "containerd and the kubelet run, and start at boot",
    why="Without them the node runs no pods; without enablement it comes back from a power failure as a dead node.",
    fix="systemctl status UNIT on the node says what is wrong; systemctl enable --now UNIT",
)
def test_services_run(host: Host, expect: Expect) -> None:
    for unit in ("containerd", "kubelet"):
        expect(f"{unit} is", "active, enabled", f"{_word(host, 'is-active', unit)}, {_word(host, 'is-enabled', unit)}")


def _word(host: Host, verb: str, unit: str) -> str:
    return str(host.run(f"systemctl {verb} %s", unit).stdout.strip())
