"""A machine of User-mode Linux, and SSH to it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from labctl import paths

HERE = Path(__file__).parent
PACKAGES = "systemd-sysv,dbus,udev,openssh-server,iproute2,procps,kmod,ca-certificates,nftables,util-linux,mount"
AFTER = """
mkdir -p "$1/root/.ssh" && cp key.pub "$1/root/.ssh/authorized_keys"
printf '[Match]\\nName=vec0\\n[Network]\\nAddress=10.198.0.2/24\\nGateway=10.198.0.1\\n' \
  > "$1/etc/systemd/network/vec0.network"
ln -s /lib/systemd/system/systemd-networkd.service "$1/etc/systemd/system/multi-user.target.wants/"
cp /etc/resolv.conf "$1/etc/resolv.conf"
echo '/dev/ubda / ext4 defaults 0 1' > "$1/etc/fstab"
"""
ADDRESS, NETWORK = "10.198.0.2", "10.198.0.0/24"
OURS, THEIRS = "labctl-uml", "labctl-uml-in"
BOOTS_WITHIN_S = 120
OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5")


def kernel() -> Path:
    """The program that is the kernel: built once, by the content of its recipe."""
    recipe = b"".join((HERE / name).read_bytes() for name in ("kernel", "kernel.config"))
    folder = paths.cache() / "e2e-uml" / hashlib.sha256(recipe).hexdigest()[:16]
    if not (folder / "linux").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([HERE / "kernel", folder], check=True)
    return folder / "linux"


@dataclass
class Guest:
    """The machine whose disk is in `folder`."""

    folder: Path
    memory_mib: int = 6144
    disk_gib: int = 16
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    undo: ExitStack = field(default_factory=ExitStack, repr=False)

    def build(self, script: str, *packages: str) -> None:
        """Make the disk: Debian with `packages`, and what `script` does, in `folder`, to the root "$1"."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], cwd=self.folder, check=True)
        include = f"--include={','.join([PACKAGES, *packages])}"
        hooks = (f"--customize-hook={AFTER}", f"--customize-hook={script}")
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", include, *hooks, "trixie", "root"]
        subprocess.run(argv, cwd=self.folder, check=True)
        with (self.folder / "disk").open("wb") as disk:
            disk.truncate(self.disk_gib * 1024**3)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", "root", "disk"], cwd=self.folder, check=True)
        shutil.rmtree(self.folder / "root")

    def start(self) -> None:
        """Switch it on and wait until SSH answers."""
        self._plug_in()
        argv = [str(kernel()), f"mem={self.memory_mib}M", "ncpus=2", "seccomp=on", f"ubd0={self.folder / 'disk'}"]
        argv += ["root=/dev/ubda", "rw", "rootfstype=ext4", "con=null", "con0=fd:0,fd:1", f"uml_dir={self.folder}/"]
        argv += [f"vec0:transport=raw,ifname={THEIRS},depth=128", "net.ifnames=0"]
        with (self.folder / "console.log").open("wb") as console:
            self.running = subprocess.Popen(
                argv,
                cwd=self.folder,
                env={"TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOTS_WITHIN_S
        while time.monotonic() < deadline and self.running.poll() is None:
            if self.ssh("true", timeout_s=10).returncode == 0:
                return
            time.sleep(0.5)
        raise AssertionError((self.folder / "console.log").read_text(errors="replace")[-2000:])

    def _plug_in(self) -> None:
        """A cable to it, and a way from it to this host's network."""

        def do(command: str, undo: str = "") -> None:
            subprocess.run(command.split(), check=True)
            if undo:
                self.undo.callback(subprocess.run, undo.split(), check=True)

        do(f"ip link add {OURS} type veth peer name {THEIRS}", f"ip link del {OURS}")
        for end in (OURS, THEIRS):
            # It takes no packets that a network card would have to cut or sign.
            do(f"ethtool -K {end} tso off gso off gro off tx off rx off")
            do(f"ip link set {end} up")
        do(f"ip address add 10.198.0.1/24 dev {OURS}")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for where, what in (
            ("-t nat", f"POSTROUTING -s {NETWORK} ! -d {NETWORK} -j MASQUERADE"),
            ("-t filter", f"FORWARD -s {NETWORK} -j ACCEPT"),
            ("-t filter", f"FORWARD -d {NETWORK} -j ACCEPT"),
        ):
            do(f"iptables {where} -A {what}", f"iptables {where} -D {what}")

    def power_off(self) -> None:
        """Pull the plug."""
        if self.running:
            self.ssh("poweroff", timeout_s=60)
            self.running.wait(timeout=60)
        self.undo.close()

    def ssh(self, script: str, timeout_s: float | None = None, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run `script` there."""
        argv = ["ssh", "-q", "-i", "key", *OPTIONS, f"{user}@{ADDRESS}", script]
        try:
            return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", "no answer")

    def __call__(self, script: str, user: str = "root", code: int = 0) -> str:
        """What `script` prints; it must end with `code`."""
        done = self.ssh(script, user=user)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
