"""CIS Kubernetes Benchmark 1.12, section 1.1: the files of control planes."""

from __future__ import annotations

from labctl.verify import Expect
from labctl.verify.cis import MANIFESTS, Choose, Item, below, items, mode, owner, these
from labctl.verify.programs import Programs

PKI = "/etc/kubernetes/pki"
CNI_FILES = below("/etc/cni/net.d", "/var/lib/cni/networks")


def etcd_data(programs: Programs) -> list[str]:
    return [programs.flags("etcd")["data-dir"]]


def admin_files(programs: Programs) -> list[str]:
    # kubeadm writes super-admin.conf on the first control plane only.
    return [path for path in programs.files if path.endswith("/super-admin.conf")] + ["/etc/kubernetes/admin.conf"]


def private(number: str, what: str, choose: Choose, harm: str) -> list[Item]:
    """Two items: only root reads and writes it, and root owns it."""
    first, _, second = number.rpartition(".")
    following = f"{first}.{int(second) + 1}"
    return [
        Item(number, f"nobody but its owner may read or write {what}", harm, mode(choose, 0o600)),
        Item(following, f"root owns {what}", harm, owner(choose, "root:root")),
    ]


def manifest(number: str, program: str) -> list[Item]:
    """Two items of a static pod's manifest."""
    harm = f"Who can write the manifest runs any program as root in {program}'s place; its arguments tell the way in."
    return private(number, f"the manifest of {program}", these(f"{MANIFESTS}/{program}.yaml"), harm)


def credential(number: str, what: str, choose: Choose) -> list[Item]:
    """Two items of a kubeconfig."""
    return private(
        number, f"the kubeconfig of {what}", choose, f"It holds the key of {what}: who reads it acts as {what}."
    )


ROWS = [
    *manifest("1.1.1", "kube-apiserver"),
    *manifest("1.1.3", "kube-controller-manager"),
    *manifest("1.1.5", "kube-scheduler"),
    *manifest("1.1.7", "etcd"),
    *private(
        "1.1.9", "the files of the pod network", CNI_FILES, "Who can write them decides where pods' traffic goes."
    ),
    Item(
        "1.1.11",
        "nobody but its owner may enter etcd's folder",
        "All of the cluster's objects are in it, Secrets among them.",
        mode(etcd_data, 0o700),
    ),
    Item(
        "1.1.12",
        "the user etcd owns etcd's folder",
        "An owner that nothing else runs as keeps the cluster's objects away from every other program.",
        owner(etcd_data, "etcd:etcd"),
    ),
    *credential("1.1.13", "the administrator", admin_files),
    *credential("1.1.15", "the scheduler", these("/etc/kubernetes/scheduler.conf")),
    *credential("1.1.17", "the controller manager", these("/etc/kubernetes/controller-manager.conf")),
    Item(
        "1.1.19",
        "root owns all keys and certificates of the cluster",
        "Their owner can replace them, and then decides whom the cluster believes.",
        owner(below(PKI, with_folders=True), "root:root"),
    ),
    Item(
        "1.1.20",
        "nobody but their owner may write certificates of the cluster",
        "Who replaces an authority's certificate decides whom the cluster believes.",
        mode(below(PKI, suffix=".crt"), 0o644),
    ),
    Item(
        "1.1.21",
        "nobody but their owner may read keys of the cluster",
        "With an authority's key anybody makes himself an administrator.",
        mode(below(PKI, suffix=".key"), 0o600),
    ),
]


@items(ROWS, on="control-plane")
def test_file(programs: Programs, item: Item, expect: Expect) -> None:
    item.look.see(programs, expect)
