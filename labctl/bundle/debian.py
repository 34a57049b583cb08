"""Programs from Debian packages: nft and conntrack with the libraries they need, and a static busybox."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from labctl import process
from labctl.bundle.child import tethered
from labctl.bundle.image import Entry, File, Link
from labctl.bundle.pulse import pulse
from labctl.bundle.recipe import DebianGroup, host_arch
from labctl.errors import LabError
from labctl.events import Emit

_VERSIONS = "versions.json"
_APPLETS = "applets"
_TOOLS = "network-tools"
_BUSYBOX = "busybox"
# Without it `nft --json` calls tcp 6: kube-proxy does not know its own rules again, and deletes them when it starts
# anew or an hour has passed. The names and numbers are IANA's; https://www.iana.org/assignments/protocol-numbers
_PROTOCOLS = b"ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n"


def extract(group: DebianGroup, arch: str, into: Path, emit: Emit) -> None:
    """Fetch the packages of `group` and keep what `DebianFiles` reads; nothing is installed on this machine."""
    scratch = into / ".scratch"
    root = scratch / "root"
    start = time.monotonic()
    with pulse(lambda: f"{group.title}: {time.monotonic() - start:.0f} s so far", emit):
        _fetch(group.packages, group.suite, arch, root)
        # A busybox that this machine can run says which applets it has: those of the same version elsewhere.
        own = root if arch == host_arch() else scratch / "own"
        if own != root:
            _fetch([group.busybox], group.suite, host_arch(), own)
    _copy_tools(root, list(group.programs), into / _TOOLS)
    shutil.copy(root / "usr/bin/busybox", into / _BUSYBOX)
    (into / _APPLETS).write_text(process.run([own / "usr/bin/busybox", "--list-full"]).stdout, encoding="utf-8")
    versions = {package: _version(root, package) for package in group.packages}
    (into / _VERSIONS).write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
    for copyright_file in sorted(root.glob("usr/share/doc/*/copyright")):
        place = into / "licences" / f"debian-{copyright_file.parent.name}" / "copyright"
        place.parent.mkdir(parents=True)
        shutil.copyfile(copyright_file, place)
    shutil.rmtree(scratch)


def _fetch(packages: list[str], suite: str, arch: str, root: Path) -> None:
    """Unpack `packages` and all that they depend on below `root`."""
    root.mkdir(parents=True)
    archive = root.with_suffix(".tar")
    options = ("--variant=extract", f"--architectures={arch}", f"--include={','.join(packages)}")
    process.stream(tethered("mmdebstrap", *options, suite, archive), on_line=_ignore)
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter=_files_only)  # noqa: S202 (filtered)


@dataclass(frozen=True)
class DebianFiles:
    """What `extract` left in `folder`, as entries of images."""

    folder: Path

    def versions(self) -> dict[str, str]:
        """Package -> version."""
        found: dict[str, str] = json.loads((self.folder / _VERSIONS).read_text(encoding="utf-8"))
        return found

    def network_tools(self) -> list[Entry]:
        """The programs nft and conntrack with all they need."""
        root = self.folder / _TOOLS
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [File("etc/protocols", _PROTOCOLS, 0o644), *(File(str(path.relative_to(root)), path) for path in files)]

    def busybox(self) -> list[Entry]:
        """Busybox at /bin/busybox with a link for each applet."""
        applets = (self.folder / _APPLETS).read_text(encoding="utf-8").split()
        links = [Link(name, "/bin/busybox") for name in applets if name != "bin/busybox"]
        return [File("bin/busybox", self.folder / _BUSYBOX), *links]


def _ignore(line: str) -> None:
    """A line of output that matters only if the program fails, and then the error has it."""


def _files_only(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Leave out what the safe filter refuses: devices and pipes too."""
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError:
        return None


def _copy_tools(root: Path, programs: list[str], target: Path) -> None:
    """Copy the programs, the loader at the path that they name, and each library that they need."""
    [loader] = [*root.glob("usr/lib64/ld-*.so.*"), *root.glob("usr/lib/ld-*.so.*")]
    wanted = {str(loader.relative_to(root / "usr")): loader}
    for program in programs:
        wanted[program] = root / program
        for library in _libraries(root, root / program):
            if library.name != loader.name:
                wanted[str(library.relative_to(root))] = library
    for name, source in wanted.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        place.chmod(0o755)


def _libraries(root: Path, program: Path) -> list[Path]:
    """The shared libraries of `program` and of those; it is read, not run, for it may be for another machine."""
    found: dict[str, Path] = {}
    todo = [program]
    while todo:
        for name in _needed(todo.pop()):
            if name in found:
                continue
            places = sorted(path for path in root.glob(f"usr/lib*/**/{name}") if path.is_file())
            if not places:
                raise LabError(f"{program.name} needs {name}, which is not in the packages fetched")
            found[name] = places[0]
            todo.append(places[0])
    return list(found.values())


def _needed(file: Path) -> list[str]:
    """The names of the libraries that a program or library asks its loader for."""
    listed = process.run(["readelf", "--dynamic", "--wide", file], env={"LC_ALL": "C"}).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", listed)


def _version(root: Path, package: str) -> str:
    """The version, from the head of the package's changelog: ``name (version) suite; urgency=...``."""
    folder = root / "usr/share/doc" / package
    changelog = next(folder / name for name in ("changelog.Debian.gz", "changelog.gz") if (folder / name).exists())
    with gzip.open(changelog, "rt", encoding="utf-8", errors="replace") as lines:
        head = lines.readline()
    return head.partition("(")[2].partition(")")[0]
