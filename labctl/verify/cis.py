"""Items of the CIS Kubernetes Benchmark as rows of a table; `items` makes a numbered check of each.

Numbers are those of version 1.12 of the benchmark. What is asked is said in our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from labctl.verify.declare import Check, Role
from labctl.verify.expect import Expect
from labctl.verify.programs import File, Programs

Accept = Callable[[Any], bool]
Choose = Callable[[Programs], list[str]]
MANIFESTS = "/etc/kubernetes/manifests"
STRONG_CIPHERS = {
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    *("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
}
_MANIFESTS = "/etc/kubernetes/manifests/"
_SECTIONS = {
    "kube-apiserver": "apiServer.extraArgs",
    "kube-controller-manager": "controllerManager.extraArgs",
    "kube-scheduler": "scheduler.extraArgs",
    "etcd": "etcd.local.extraArgs",
}


@dataclass(frozen=True)
class Look:
    """How an item is looked at, and what mends it."""

    see: Callable[[Programs, Expect], None]
    fix: str


@dataclass(frozen=True)
class Item:
    """One item of the benchmark."""

    number: str
    title: str
    why: str
    look: Look


def items(rows: Sequence[Item], on: Role | None = None) -> pytest.MarkDecorator:
    """Run the test once for each of `rows`, as a check of that number."""
    params = []
    for row in rows:
        check: Any = Check(f"CIS-{row.number}", row.title, row.why, row.look.fix, on)
        params.append(pytest.param(row, id=row.number, marks=pytest.mark.check(check)))
    return pytest.mark.parametrize("item", params)


def flag(program: str, name: str, words: str, accept: Accept) -> Look:
    """`accept` the value of the program's argument; None where it is not given."""

    def see(programs: Programs, expect: Expect) -> None:
        seen = programs.flags(program).get(name)
        expect.that(f"--{name}", words, "not set" if seen is None else seen, accept(seen))

    where = f"{MANIFESTS}/{program}.yaml, and in {_SECTIONS[program]} of kubeadm's configuration"
    return Look(see, f"set --{name} ({words}) in {where}")


def given(program: str, *names: str) -> Look:
    """The program's arguments `names` are all given."""

    def see(programs: Programs, expect: Expect) -> None:
        for name in names:
            seen = programs.flags(program).get(name, "")
            expect.that(f"--{name}", "a file", seen or "not set", seen.startswith("/"))

    where = f"{MANIFESTS}/{program}.yaml, and in {_SECTIONS[program]} of kubeadm's configuration"
    return Look(see, f"set {' and '.join(f'--{name}' for name in names)} in {where}")


def kubelet(path: str, words: str, accept: Accept, argument: str = "") -> Look:
    """`accept` the value at `path` of the kubelet's configuration, or of the `argument` that overrides it, or None."""

    def see(programs: Programs, expect: Expect) -> None:
        seen = programs.flags("kubelet").get(argument, programs.kubelet_setting(path))
        expect.that(path, words, "not set" if seen is None else seen, accept(seen))

    fix = f"set {path} ({words}) in /var/lib/kubelet/config.yaml and in the ConfigMap kubelet-config of kube-system"
    return Look(see, f"{fix}; then systemctl restart kubelet")


def mode(choose: Choose, most: int, fix: str = "") -> Look:
    """No file of `choose` allows more than the bits of `most`."""

    def is_right(file: File) -> bool:
        return file.mode & ~most == 0

    return Look(
        _of_files(choose, f"mode {most:o} or less", lambda file: f"{file.mode:o}", is_right),
        fix or f"chmod {most:o} FILE",
    )


def owner(choose: Choose, name: str, fix: str = "") -> Look:
    """Every file of `choose` belongs to `name`, as ``root:root``."""
    see = _of_files(choose, name, lambda file: file.owner, lambda file: file.owner == name)
    return Look(see, fix or f"chown {name} FILE")


def _of_files(
    choose: Choose, words: str, show: Callable[[File], str], is_right: Callable[[File], bool]
) -> Callable[[Programs, Expect], None]:
    def see(programs: Programs, expect: Expect) -> None:
        paths = choose(programs)
        files = {path: programs.files.get(path) for path in paths}
        if len(paths) == 1 and paths[0].startswith(_MANIFESTS) and not files[paths[0]]:
            pytest.skip(f"{paths[0]} is missing (NODE-041)")
        wrong = {
            path: show(file) if file else "missing" for path, file in files.items() if not file or not is_right(file)
        }
        right = ", ".join(sorted({show(file) for file in files.values() if file}))
        shown = "".join(wrong.values()) if len(paths) == 1 else wrong
        expect.that(_name(paths), words, shown or right or "no file", bool(paths) and not wrong)

    return see


def _name(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{len(paths)} files"


def these(*paths: str) -> Choose:
    """Files by path, all of which must exist."""
    return lambda _: list(paths)


def below(*folders: str, suffix: str = "", with_folders: bool = False) -> Choose:
    """Files below these folders, with these endings; the folders too if asked."""

    def choose(programs: Programs) -> list[str]:
        roots = tuple(f"{folder}/" for folder in folders)
        return [
            path
            for path, file in programs.files.items()
            if f"{path}/".startswith(roots) and path.endswith(suffix) and (with_folders or not file.is_folder)
        ]

    return choose
