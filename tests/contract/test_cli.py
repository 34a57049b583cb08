import errno
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from jsonschema import Draft202012Validator

from labctl import config, state
from labctl.bootstrap import UpResult
from labctl.cli import main, up
from labctl.errors import ProviderError
from labctl.process import CommandError, Completed

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no-such-command"], 2, "No such command"),
        (["up", "--workers", "many"], 2, "not a valid integer"),
        (["up", "--workers", "-1"], 2, "workers"),
        (["up", "--timing", "slow"], 2, "timing"),
        (["up", "--config", "nowhere.yml"], 2, "nowhere.yml"),
        (["status"], 2, "there is no lab lab"),
        (["status", "--lab", "UPPER"], 2, "--lab: wants a letter"),
        (["up", "--workers", "500"], 2, "--workers: Input should be less than or equal to 50 (given: 500)"),
        (["up", "--kubernetes", "9.9.9"], 2, "known versions: 1.37.2"),
        (["drill", "no-such-drill"], 2, "no-such-drill"),
        (["drill"], 2, "there is no lab lab"),
        (["kubectl", "--", "get", "pods"], 2, "there is no lab"),
        (["ssh", "lab-worker-1"], 2, "there is no lab"),
        (["recover"], 2, "there is no lab"),
        (["stop"], 2, "there is no lab"),
        (["start"], 2, "there is no lab"),
        (["image", "load", "localhost/app:1"], 2, "there is no lab"),
        (["image", "load"], 2, "Missing argument"),
        (["bundle", "show"], 4, "labctl bundle build"),
        (["bundle", "show", "--kubernetes", "9.9.9"], 2, "9.9.9"),
    ],
)
def test_misuse_ends_in_a_sentence_and_a_documented_exit_code(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(words) == code
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in err
    assert not out, "stdout is for results"


def test_a_bug_is_said_to_be_one_and_its_traceback_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("impossible")

    monkeypatch.setattr("labctl.status.look", broken)
    assert main.run(["status"]) == 70
    err = capsys.readouterr().err
    assert "impossible" in err
    assert "Traceback" not in err
    assert "Traceback" in (tmp_path / "home" / "bug.txt").read_text()


def test_a_state_folder_that_cannot_be_written_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "file"))
    assert main.run(["up"]) == 8
    err = capsys.readouterr().err
    assert "Not a directory" in err
    assert "LABCTL_HOME" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 8, "/x/y: No space left on device\n  → the disk is"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), 8, "the disk is read-only"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 8, "no room for another process"),
        (RuntimeError("can't start new thread"), 5, "no room for another process"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), 8, "ulimit -n"),
        (MemoryError(), 5, "out of memory: close"),
        (ProviderError("podman run: write /x: no space left on device", "labctl doctor"), 5, "the disk is full"),
        (CommandError(Completed(("podman", "run"), -9, "", "")), 5, "podman run was killed (out of memory?)"),
    ],
)
def test_a_host_that_runs_out_of_something_in_the_middle_is_no_bug(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def meet(_name: str) -> None:
        raise error

    monkeypatch.setattr("labctl.status.look", meet)
    assert main.run(["status"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert "→" in err
    assert "Traceback" not in err


def test_an_error_carries_its_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_name: str) -> None:
        raise ProviderError("podman said no", "podman info")

    monkeypatch.setattr("labctl.status.look", refuse)
    assert main.run(["status"]) == 5
    assert "podman said no\n  → podman info" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("labctl.status.look", interrupt)
    assert main.run(["status"]) == 130


def test_a_sigterm_is_as_a_ctrl_c(tmp_path: Path) -> None:
    """A whole labctl, for it is the program that says what a signal does."""
    code = (
        "import os, signal, time, sys\nfrom labctl import status\nfrom labctl.cli import main\n"
        "def interrupt(_):\n os.kill(os.getpid(), signal.SIGTERM)\n time.sleep(5)\n"
        "status.look = interrupt\nsys.argv = ['labctl', 'status']\nmain.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr.strip().startswith("error: interrupted.")


def test_down_of_a_lab_that_never_was_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("labctl.providers.engines.may_have", lambda _: [])
    assert main.run(["down", "--lab", "never-was"]) == 0
    assert "There is no lab never-was" in capsys.readouterr().out
    assert list((tmp_path / "home" / "labs").iterdir()) == []


def test_a_drill_is_offered_only_where_it_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*, is_ready: bool | None, workers: int) -> str:
        node = Mock(ready=is_ready)
        result = UpResult("two", 0, 1.0, [node], [], Path("/k"), "")
        up._tell(result, config.LabConfig(name="two", workers=workers))
        return capsys.readouterr().out

    assert "labctl drill --lab two worker-poweroff" in said(is_ready=True, workers=2)
    assert "labctl drill" not in said(is_ready=True, workers=1)
    assert "labctl drill" not in said(is_ready=False, workers=2), "cni: none"
    assert "labctl status --lab two" in said(is_ready=False, workers=2)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_the_documented_schemas_are_schemas(path: Path) -> None:
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert not Draft202012Validator(schema).is_valid({})


def test_version_and_config_need_no_lab(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["version", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "labctl.version/v1"
    assert main.run(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "LabConfig"


def test_up_on_a_lab_that_exists_keeps_its_settings() -> None:
    """Without a labctl.yml: `labctl up` is what the hints say, and must not ask for another lab."""
    made = config.LabConfig(name="kept", timing="drill", workers=3)
    state.save(state.LabRecord(created=state.now(), config=made, bundle="/nowhere"))
    wanted = up._wanted(None, {"name": "kept", "timing": None})
    assert wanted == made
    assert up._wanted(None, {"name": "kept", "workers": 4}).workers == 4
    assert up._wanted(None, {"name": "other", "timing": None}).timing == "default"
    Path("other.yml").write_text("timing: fast\n")
    assert up._wanted(Path("other.yml"), {"name": "kept"}).timing == "fast", "the file is the truth where there is one"
    Path("labctl.yml").write_text("timing: fast\n")
    assert up._wanted(None, {"name": "kept"}).timing == "fast", "even one that is found by itself"


def test_up_without_a_name_means_the_lab_of_the_default_name() -> None:
    made = config.LabConfig(timing="drill")
    state.save(state.LabRecord(created=state.now(), config=made, bundle="/nowhere"))
    assert up._wanted(None, {}) == made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "NODE-999"], "no check is numbered 'NODE-999'"),
        (["--only="], "no check is numbered ''"),
        (["--skip", "=why"], "--skip '=why': a check is left out for a reason"),
        (["--skip", "NODE-001"], "--skip 'NODE-001': a check is left out for a reason"),
        (["--inventory", "/dev/null"], "--inventory /dev/null: no machine is in its group control_planes"),
        (["--inventory", ""], "--inventory names no file or folder"),
        (["--lab", "one", "--inventory", "inventories/three-hosts"], "--lab and --inventory name two clusters"),
    ],
)
def test_verify_refuses_what_it_cannot_look_at(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["verify", "--list", *words] if "only" in words[0] else ["verify", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_list_of_checks_is_of_those_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["verify", "--list", "--only", "node-00[12]", "--skip", "NODE-002=known"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["NODE-001"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("drill", "labctl recover --lab two undoes what is left of the drill"),
        ("up", "The same command goes on from here"),
    ],
)
def test_an_interruption_says_what_is_next(command: str, said: str) -> None:
    assert said in main._after_interruption([command, "--lab=two"])
