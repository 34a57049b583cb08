"""One way to break a lab."""

from __future__ import annotations

from dataclasses import dataclass

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"


@dataclass(frozen=True)
class Breaker:
    """`harm` breaks the node `on` (``cp-1``, ``worker-1``), `mend` undoes it: both are shell commands, run as root.

    Exactly `checks` must fail then, on `seen_on` (default: the checks' own subject is `on`, or ``cluster``).
    `felt` and `well` are shell commands on the first control plane that are awaited after `harm` and after `mend`,
    where the lab needs a moment to notice.
    """

    checks: frozenset[str]
    on: str
    harm: str
    mend: str
    felt: str = "true"
    well: str = "true"
    seen_on: frozenset[str] = frozenset()

    def expected(self, lab: str) -> set[tuple[str, str]]:
        """(number, subject) of all results that must be bad."""
        subjects = self.seen_on or {self.on}
        found = set()
        for check in self.checks:
            names = {"cluster"} if check.startswith("CLUSTER-") else {f"{lab}-{name}" for name in subjects}
            found |= {(check, name) for name in names}
        return found


def breaks(*checks: str) -> frozenset[str]:
    """The numbers of checks."""
    return frozenset(checks)


def mounts_over(check: str, path: str, text: str) -> Breaker:
    """A worker sees `text` in a file of the kernel's, which itself stays as it is."""
    harm = f"echo {text} > /run/breaker && mount --bind /run/breaker {path}"
    return Breaker(breaks(check), on="worker-1", harm=harm, mend=f"umount {path}")


def renewed(lease: str) -> str:
    """Whether its holder renewed the lease in the last few seconds."""
    when = f"{KUBECTL} -n kube-system get lease {lease} -o jsonpath='{{.spec.renewTime}}'"
    return f'[ $(($(date +%s) - $(date -d "$({when})" +%s))) -lt 5 ]'
