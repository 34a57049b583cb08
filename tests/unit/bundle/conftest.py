from __future__ import annotations

import json
from pathlib import Path

import pytest

from labctl.bundle import assemble, workshop
from labctl.bundle.model import Bundle
from labctl.bundle.recipe import DebianGroup, GoGroup, Group, ImageRecipe, Program, Recipe
from labctl.events import Emit, Event

GO = "go1.99.0"


class FakeCompiler:
    """Makes groups of small files; `dies_at` names a group in whose middle it raises."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.dies_at = ""

    def __call__(self, group: Group, into: Path, emit: Emit) -> None:
        self.made.append(group.name)
        if isinstance(group, DebianGroup):
            self._debian(into)
        else:
            for program in group.programs:
                _write(into / program.name, f"{program.name} {group.version}", 0o755)
                if group.name == self.dies_at:
                    raise KeyboardInterrupt
            _write(into / "licences" / group.origin / "LICENSE", "may be used", 0o644)

    def _debian(self, into: Path) -> None:
        _write(into / "network-tools/usr/sbin/nft", "nft", 0o755)
        _write(into / "network-tools/lib64/ld.so", "loader", 0o755)
        _write(into / "busybox", "busybox", 0o755)
        _write(into / "applets", "bin/busybox\nbin/sh\nusr/bin/wget\n", 0o644)
        _write(into / "versions.json", json.dumps({"nftables": "1", "conntrack": "2", "busybox-static": "3"}), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def group(root: Path, name: str, *programs: Program) -> GoGroup:
    module = f"example.org/{name}"
    source = root / name
    _write(
        source / "go.mod", f"module labctl/bundle/{name}\n\ngo 1.26.0\n\nrequire {module} v1.2.3 // indirect\n", 0o644
    )
    _write(source / "go.sum", "sums\n", 0o644)
    return GoGroup(name, name.title(), source, programs, about_s=5, module=module, ldflags="-X main.v={version}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    root = tmp_path / "sources"
    tools = group(root, "tools", Program("tool", "example.org/tools/tool", "bin"), Program("ptp", "e/ptp", "cni"))
    server = group(root, "server", Program("proxy", "example.org/server/proxy"), Program("extra", "e/extra"))
    images = (
        ImageRecipe(
            "localhost/proxy:v1", {"usr/local/bin/proxy": "proxy"}, ("/usr/local/bin/proxy",), (), "network-tools"
        ),
        ImageRecipe("localhost/busybox:1", {}, command=("sh",), extra="busybox"),
    )
    return Recipe("9.9.9", "amd64", (tools, server), DebianGroup(), images)


@pytest.fixture
def compiler() -> FakeCompiler:
    return FakeCompiler()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def bundle(recipe: Recipe, compiler: FakeCompiler, events: list[Event]) -> Bundle:
    built = workshop.make_all(recipe, GO, compiler, events.append)
    return assemble.assemble(recipe, built, GO)
