from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from labctl.bundle import debian
from labctl.bundle.debian import DebianFiles, extract
from labctl.bundle.image import File, Link
from labctl.bundle.recipe import ARCHES, DebianGroup, host_arch
from labctl.errors import LabError
from labctl.events import Event

READELF = """#!/bin/sh
# nft needs its library, that one libc, and libc the loader.
for file; do :; done
case ${file##*/} in
nft) needed=libnft.so.1 ;;
conntrack | libnft.so.1) needed=libc.so.6 ;;
libc.so.6) needed=ld-linux.so.2 ;;
esac
echo " 0x0000000000000001 (NEEDED)             Shared library: [$needed]"
"""
HERE = host_arch()
OTHER = next(arch for arch in ARCHES if arch != HERE)
BUSYBOX = "#!/bin/sh\nprintf 'bin/busybox\\nbin/sh\\nusr/bin/wget\\n'\n"


def put(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the packages hold; a stand-in for mmdebstrap packs it and writes down how it was called."""
    root, programs = tmp_path / "packages", tmp_path / "programs"
    put(root / "usr/lib64/ld-linux.so.2", "loader")
    for name in ("libnft.so.1", "libc.so.6", "libunused.so.1"):
        put(root / "usr/lib/x" / name, name, 0o644)
    put(root / "usr/sbin/nft", "nft")
    put(root / "usr/sbin/conntrack", "conntrack")
    put(root / "usr/bin/busybox", BUSYBOX)
    for package, file in (("nftables", "changelog.Debian.gz"), ("conntrack", "changelog.gz")):
        put(root / "usr/share/doc" / package / "copyright", f"of {package}", 0o644)
        changelog(root, package, file)
    changelog(root, "busybox-static", "changelog.Debian.gz")
    (root / "etc").mkdir()
    (root / "etc/outside").symlink_to("/etc/passwd")
    called = tmp_path / "called"
    pack = f'#!/bin/sh\necho "$@" >> {called}\nfor archive; do :; done\ntar -C {root} -cf "$archive" .\n'
    put(programs / "mmdebstrap", pack)
    put(programs / "readelf", READELF)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    return root


def changelog(root: Path, package: str, file: str) -> None:
    (root / "usr/share/doc" / package).mkdir(parents=True, exist_ok=True)
    head = f"{package} (1:{len(package)}-2) trixie; urgency=medium\n\n  * All (much) better.\n"
    (root / "usr/share/doc" / package / file).write_bytes(gzip.compress(head.encode()))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_tools_come_with_loader_and_libraries_and_nothing_else(
    packages: Path, tmp_path: Path, events: list[Event]
) -> None:
    into = tmp_path / "out"
    extract(DebianGroup(), HERE, into, events.append)
    assert names(into / "network-tools") == [
        "lib64/ld-linux.so.2",
        "usr/lib/x/libc.so.6",
        "usr/lib/x/libnft.so.1",
        "usr/sbin/conntrack",
        "usr/sbin/nft",
    ]
    assert {path.name for path in into.iterdir()} == {
        "applets",
        "busybox",
        "licences",
        "network-tools",
        "versions.json",
    }
    assert names(into / "licences") == ["debian-conntrack/copyright", "debian-nftables/copyright"]


def test_the_suite_and_the_packages_are_those_of_the_recipe(
    packages: Path, tmp_path: Path, events: list[Event]
) -> None:
    extract(DebianGroup(suite="forky"), HERE, tmp_path / "out", events.append)
    called = (tmp_path / "called").read_text(encoding="utf-8").split()
    wanted = "--include=busybox-static,conntrack,nftables"
    assert called[:4] == ["--variant=extract", f"--architectures={HERE}", wanted, "forky"]
    assert called.count("forky") == 1


def test_another_architecture_is_fetched_and_not_run(packages: Path, tmp_path: Path, events: list[Event]) -> None:
    extract(DebianGroup(), OTHER, tmp_path / "out", events.append)
    calls = (tmp_path / "called").read_text(encoding="utf-8").splitlines()
    assert [f"--architectures={arch}" in call for arch, call in zip((OTHER, HERE), calls, strict=True)] == [True, True]
    assert "--include=busybox-static " in calls[1]


def test_versions_are_those_of_the_changelogs(packages: Path, tmp_path: Path, events: list[Event]) -> None:
    extract(DebianGroup(), HERE, tmp_path / "out", events.append)
    versions = DebianFiles(tmp_path / "out").versions()
    assert versions == {"busybox-static": "1:14-2", "conntrack": "1:9-2", "nftables": "1:8-2"}


def test_the_entries_of_images(packages: Path, tmp_path: Path, events: list[Event]) -> None:
    out = tmp_path / "out"
    extract(DebianGroup(), HERE, out, events.append)
    files = DebianFiles(out)
    assert files.busybox() == [
        File("bin/busybox", out / "busybox"),
        Link("bin/sh", "/bin/busybox"),
        Link("usr/bin/wget", "/bin/busybox"),
    ]
    protocols, *programs = files.network_tools()
    assert [entry.path for entry in programs] == names(out / "network-tools")
    # nft writes numbers otherwise, and kube-proxy takes its own rules for a stranger's.
    assert isinstance(protocols, File)
    assert (protocols.path, protocols.mode) == ("etc/protocols", 0o644)
    assert {b"tcp 6 TCP", b"udp 17 UDP", b"sctp 132 SCTP"} <= set(bytes(protocols.source).splitlines())


def test_a_library_that_is_not_in_the_packages_is_named(packages: Path, tmp_path: Path, events: list[Event]) -> None:
    (packages / "usr/lib/x/libc.so.6").unlink()
    with pytest.raises(LabError, match=r"nft needs libc\.so\.6, which is not in the packages fetched"):
        extract(DebianGroup(), HERE, tmp_path / "out", events.append)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_not_unpacked(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("dev/console")
    member.type = kind
    assert debian._files_only(member, str(tmp_path)) is None


def test_what_would_land_outside_is_not_unpacked(tmp_path: Path) -> None:
    assert debian._files_only(tarfile.TarInfo("../stranger"), str(tmp_path)) is None
    assert debian._files_only(tarfile.TarInfo("usr/bin/busybox"), str(tmp_path)) is not None
