import os
import pwd
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl import process, state
from labctl.cli import main
from labctl.config import LabConfig
from labctl.errors import ProviderError
from labctl.providers import host, rootless
from labctl.providers.host import HostFacts

FACTS = HostFacts(cgroup=2, max_files=9999, max_processes=1, can_sys_admin=False, can_sys_resource=False)
ALL = "cpuset cpu io memory pids"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user 1000 has everything; returns the cgroup of her systemd."""
    folder = tmp_path / "user.slice" / "user-1000.slice" / "user@1000.service"
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text(f"{ALL}\n")
    (tmp_path / "bus").touch()
    ranges = tmp_path / "subuid"
    ranges.write_text("root:1:1\nada:100000:65536\n")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: SimpleNamespace(pw_name="ada"))
    monkeypatch.setattr(host, "CGROUPS", tmp_path)
    monkeypatch.setattr(host, "look", lambda: FACTS)
    monkeypatch.setattr(rootless, "RANGES", (ranges, ranges))
    monkeypatch.setattr(process, "has", lambda _program: True)
    return folder


def test_nothing_lacks_where_the_host_delegates(service: Path) -> None:
    assert service.is_dir()
    assert rootless.problems("podman") == []


@pytest.mark.parametrize(
    ("delegated", "sentence"),
    [
        ("cpu memory pids", "cpuset, io not delegated to user@1000.service"),
        ("", "cpu, cpuset, io, memory, pids not delegated"),
    ],
)
def test_what_is_not_delegated_is_named_with_the_drop_in_that_mends_it(
    service: Path, delegated: str, sentence: str
) -> None:
    (service / "cgroup.controllers").write_text(f"{delegated}\n")
    (problem,) = rootless.problems("podman")
    assert sentence in problem.text
    assert r"[Service]\nDelegate=cpu cpuset io memory pids\n" in problem.hint
    assert "/etc/systemd/system/user@.service.d/delegate.conf" in problem.hint
    assert "labctl with sudo" in problem.hint


def test_all_programs_and_ranges_that_lack_are_said_at_once(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rootless.RANGES[0].write_text("adam:100000:65536\n")
    monkeypatch.setattr(process, "has", lambda program: program == "podman")
    assert service.is_dir()
    fixes = [problem.hint for problem in rootless.problems("podman")]
    assert [fix.split(";")[0] for fix in fixes] == [
        "sudo apt-get install -y uidmap",
        "sudo apt-get install -y passt",
        "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada",
    ]


def test_one_of_two_programs_for_the_network_suffices(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "has", lambda program: program != "pasta")
    assert service.is_dir()
    assert rootless.problems("podman") == []


def test_a_shell_without_a_session_is_told_how_to_get_one(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert service.is_dir()
    (problem,) = rootless.problems("podman")
    assert "not that of this shell" in problem.text
    assert "machinectl shell ada@" in problem.hint


def test_cgroup_v1_delegates_nothing_and_no_setting_mends_it(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "look", lambda: replace(FACTS, cgroup=1))
    assert service.is_dir()
    (problem,) = rootless.problems("podman")
    assert "this host has v1" in problem.text
    assert problem.hint == "sudo make lab, or labctl with sudo"


class GoneError(Exception):
    """Instead of another program."""


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What labctl becomes."""
    seen: list[list[str]] = []

    def execvpe(program: str, words: list[str], env: dict[str, str]) -> None:
        assert rootless.inside() == "", "not yet"
        assert program == words[0]
        assert "/usr/sbin" in env["PATH"].split(":"), "root's programs are needed, which a user's PATH lacks"
        seen.append(words)
        raise GoneError

    monkeypatch.setattr(os, "execvpe", execvpe)
    return seen


def test_labctl_goes_to_where_machines_are_without_root(service: Path, become: list[list[str]]) -> None:
    assert service.is_dir()
    with pytest.raises(GoneError):
        rootless.enter("auto", ["up", "--lab", "a"])
    assert become == [["podman", "unshare", sys.executable, "-m", "labctl", "up", "--lab", "a"]]


def test_docker_has_namespaces_of_its_own(service: Path, become: list[list[str]], tmp_path: Path) -> None:
    assert service.is_dir()
    (problem,) = rootless.problems("docker")
    assert "no dockerd-rootless.sh of this user runs" in problem.text
    rootless.enter("docker", ["up"])
    (tmp_path / "dockerd-rootless").mkdir()
    (tmp_path / "dockerd-rootless" / "child_pid").write_text("999999999")
    rootless.enter("docker", ["up"])
    assert become == [], "it runs nowhere, or does no more"
    (tmp_path / "dockerd-rootless" / "child_pid").write_text(f"{os.getpid()}")
    with pytest.raises(GoneError):
        rootless.enter("docker", ["up"])
    (words,) = become
    assert words[:2] == ["nsenter", f"--target={os.getpid()}"]
    assert words[-4:] == [sys.executable, "-m", "labctl", "up"]


def test_docker_is_taken_where_podman_lacks_something(
    service: Path, become: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert service.is_dir()
    (tmp_path / "dockerd-rootless").mkdir()
    (tmp_path / "dockerd-rootless" / "child_pid").write_text(f"{os.getpid()}")
    monkeypatch.setattr(process, "has", lambda program: program != "podman")
    with pytest.raises(GoneError):
        rootless.enter("auto", ["up"])
    assert become[0][0] == "nsenter"


@pytest.mark.parametrize(
    ("words", "file", "record", "engine"),
    [
        (["up"], "", "", "auto"),
        (["up", "--provider=docker"], "", "", "docker"),
        (["up", "--provider", "docker"], "", "podman", "docker"),
        (["up"], "provider: docker", "", "docker"),
        (["down"], "", "docker", "docker"),
        (["down", "--lab", "another"], "", "docker", "auto"),
        (["up", "--provider", "none"], "", "", "auto"),  # the command itself says what is wrong
    ],
)
def test_the_engine_is_known_before_the_command_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], file: str, record: str, engine: str
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if file:
        (tmp_path / "labctl.yml").write_text(file)
    if record:
        state.save(state.LabRecord(created=state.now(), config=LabConfig(provider=record), bundle="/b"))
    assert main._engine_in(words) == engine


@pytest.mark.parametrize(
    ("words", "goes"),
    [
        (["up"], True),
        (["kubectl", "get"], True),
        (["version"], False),
        (["up", "--help"], False),
        ([], False),
        (["no-such-command"], False),
    ],
)
def test_only_commands_that_need_machines_do(
    service: Path, become: list[list[str]], monkeypatch: pytest.MonkeyPatch, words: list[str], *, goes: bool
) -> None:
    assert service.is_dir()
    monkeypatch.setattr(main.cli, "main", lambda **_words: 0)
    main.run(words)
    assert bool(become) is goes


def test_root_stays_where_it_is(become: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(main.cli, "main", lambda **_words: 0)
    assert main.run(["up"]) == 0
    assert become == []


@pytest.mark.parametrize(
    ("uid_map", "is_one"),
    [
        ("         0          0 4294967295\n", False),
        ("         0       1000          1\n         1     100000  65536\n", True),
    ],
)
def test_a_user_namespace_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid_map: str, *, is_one: bool
) -> None:
    (tmp_path / "uid_map").write_text(uid_map)
    monkeypatch.setattr(host, "USERS", tmp_path / "uid_map")
    monkeypatch.setattr(host, "_capabilities", lambda: 1 << host.CAP_SYS_RESOURCE)
    assert host.in_user_namespace() is is_one
    assert host.look().can_sys_resource is not is_one, "the kernel wants it outside"


def test_machines_that_would_end_with_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rootless.ends_with_the_session() == ""
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "1000")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name={1000: "ada"}[uid]))
    monkeypatch.setattr(rootless, "LINGERING", tmp_path)
    assert rootless.ends_with_the_session() == "loginctl enable-linger ada"
    (tmp_path / "ada").touch()
    assert rootless.ends_with_the_session() == ""


def test_the_machines_network_is_kept_as_long_as_labctl_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"pid": "4321"}
    joined: list[Path] = []
    monkeypatch.setattr(process, "companion", lambda _argv: said["pid"])
    monkeypatch.setattr(rootless, "_set_network", joined.append)
    rootless.join_network()
    assert joined == [], "root is in the machines' network"
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "1000")
    rootless.join_network()
    assert joined == [Path("/proc/4321/ns/net")]
    said["pid"] = ""
    with pytest.raises(ProviderError, match="could not make the machines' network"):
        rootless.join_network()


def test_a_companion_lives_as_long_as_who_started_it(tmp_path: Path) -> None:
    program = (
        "import os; from labctl import process\n"
        "pid = process.companion(['sh', '-c', 'echo $$; cat; touch ended'])\n"
        "print(os.readlink(f'/proc/{pid}/fd/0'), os.getsid(int(pid)) == int(pid), os.path.exists('ended'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"pipe:\S+ True False\n", done.stdout), (
        "it waits for the end of its input, in a session of its own"
    )
    deadline = time.monotonic() + 10
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline, "its input ended with its parent"
        time.sleep(0.01)
