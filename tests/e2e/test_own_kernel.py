"""The role node_base on a machine with a kernel, swap and clock of its own: a virtual machine, emulated without KVM."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from labctl import bundle, config, paths

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
PACKAGES = (
    "systemd-sysv,dbus,udev,openssh-server,python3,python3-apt,iproute2,procps,kmod,ca-certificates,initramfs-tools,"
    "linux-image-cloud-amd64,nftables,conntrack,ethtool,socat,util-linux,mount"
)
# $1 is the root of the machine. Drivers by name keep the initrd small: each byte of it is slow in emulation.
BEFORE = """
mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list > "$1/etc/initramfs-tools/conf.d/list"
printf '%s\\n' virtio_pci virtio_blk virtio_net ext4 > "$1/etc/initramfs-tools/modules"
"""
AFTER = """
cp "$1"/boot/vmlinuz-* vmlinuz && cp "$1"/boot/initrd.img-* initrd
mkdir -p "$1/root/.ssh" && cp key.pub "$1/root/.ssh/authorized_keys"
printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=yes\\n' > "$1/etc/systemd/network/eth0.network"
ln -s /lib/systemd/system/systemd-networkd.service "$1/etc/systemd/system/multi-user.target.wants/"
echo nameserver 10.0.2.3 > "$1/etc/resolv.conf"
head -c 64M /dev/urandom > "$1/swapfile" && chmod 600 "$1/swapfile" && mkswap -q "$1/swapfile"
printf '/dev/vda / ext4 defaults 0 1\\n/swapfile none swap sw 0 0\\n' > "$1/etc/fstab"
"""
KERNEL = "root=/dev/vda rw rootfstype=ext4 console=ttyS0 net.ifnames=0 mitigations=off"
BOOTS_WITHIN_S = 400


@dataclass
class Metal:
    """The virtual machine whose disk and kernel are in `folder`."""

    folder: Path
    port: int = 0
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def build(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], cwd=self.folder, check=True)
        hooks = (f"--essential-hook={BEFORE}", f"--customize-hook={AFTER}")
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *hooks, "trixie", "root"]
        subprocess.run(argv, cwd=self.folder, check=True)
        with (self.folder / "disk").open("wb") as disk:
            disk.truncate(3 * 1024**3)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", "root", "disk"], cwd=self.folder, check=True)
        shutil.rmtree(self.folder / "root")

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Emulation with cmpxchg16b makes Debian's kernel panic.
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "Nehalem,-cx16", "-m", "1024"]
        argv += ["-smp", "2", "-kernel", "vmlinuz", "-initrd", "initrd", "-append", KERNEL, "-display", "none"]
        argv += ["-drive", "file=disk,if=virtio,format=raw,cache=unsafe", "-serial", "file:console.log"]
        argv += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-no-reboot"]
        argv += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        self.running = subprocess.Popen(argv, cwd=self.folder)
        deadline = time.monotonic() + BOOTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.running.poll() is None and self.ssh("true", timeout_s=20).returncode == 0:
                return
            time.sleep(1)
        raise AssertionError((self.folder / "console.log").read_text(errors="replace")[-2000:])

    def power_off(self) -> None:
        if self.running:
            self.ssh("sync", timeout_s=60)
            self.running.kill()
            self.running.wait()

    def ssh(self, script: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["ssh", "-i", "key", "-p", str(self.port), *self._options(), "root@127.0.0.1", script]
        try:
            return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", "no answer")

    def __call__(self, script: str) -> str:
        done = self.ssh(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def prepare(self, bundle_folder: Path) -> tuple[int, set[str]]:
        """Run the role; returns the number of changed tasks, and the names of those that were skipped."""
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "node_address": "10.0.2.15",
            "ansible_ssh_common_args": " ".join(self._options()),
            "ansible_python_interpreter": "/usr/bin/python3",
            "lab_bundle": str(bundle_folder),
        }
        tree = {"all": {"children": {"control_planes": {"hosts": {"metal": host}}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(tree))
        done = subprocess.run(
            [str(PLAYBOOK), "-i", str(self.folder / "hosts.yml"), str(Path(__file__).with_name("own_kernel.yml"))],
            env={**os.environ, "ANSIBLE_CONFIG": str(paths.ansible_config())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        skipped = re.findall(r"^TASK \[node_base : (.*?)\] \*+\nskipping", done.stdout, re.MULTILINE)
        return int(re.findall(r"changed=(\d+)", done.stdout)[0]), set(skipped)

    def _options(self) -> list[str]:
        return ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10"]


@pytest.fixture
def metal(tmp_path: Path) -> Iterator[Metal]:
    machine = Metal(tmp_path)
    machine.build()
    machine.start()
    yield machine
    machine.power_off()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="scripts/install-deps --vm installs qemu")
def test_a_machine_with_a_kernel_of_its_own(metal: Metal) -> None:
    found = bundle.find(config.DEFAULT_KUBERNETES)
    assert found is not None
    assert "/swapfile" in metal("cat /proc/swaps")
    assert metal("systemctl show --property=ActiveState --value systemd-timesyncd chrony").split() == ["inactive"] * 2

    changed, skipped = metal.prepare(found.path)
    assert changed > 0
    assert "Let SELinux warn instead of refuse" in skipped, "Debian's kernel runs AppArmor"
    assert "Keep NetworkManager away from the pods' interfaces" in skipped
    look(metal)
    assert metal.prepare(found.path)[0] == 0

    metal.power_off()
    metal.start()
    look(metal)
    changed, skipped = metal.prepare(found.path)
    assert changed == 0
    assert "Stop using it" in skipped, "no swap is left"


def look(metal: Metal) -> None:
    """What holds after the role, and after the next start."""
    assert len(metal("cat /proc/swaps").splitlines()) == 1, "a headline only"
    assert "# turned off by labctl: /swapfile none swap" in metal("cat /etc/fstab")
    modules = metal("lsmod")
    assert "overlay" in modules
    assert "br_netfilter" in modules
    keys = "net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables"
    assert metal(f"sysctl --values {keys}").split() == ["1"] * 3
    assert metal("systemctl is-active chrony").strip() == "active"
    assert metal("command -v apparmor_parser")
    # What systemd-networkd would take away when it restarts, did it not know better.
    metal("ip route replace 192.0.2.0/24 dev eth0 && systemctl restart systemd-networkd")
    metal("/usr/lib/systemd/systemd-networkd-wait-online --timeout=120")
    assert "192.0.2.0/24" in metal("ip route")
