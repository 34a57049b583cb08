"""Completion as a shell asks for it; bash is asked for real, and zsh and fish where they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    lab = tmp_path / "labs" / "two"
    (lab / "machines" / "two-worker-1").mkdir(parents=True)
    (lab / "lab.json").touch()
    return {**os.environ, "LABCTL_HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb"}


def script(shell: str, env: dict[str, str]) -> str:
    done = subprocess.run(["labctl", "completion", shell], env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("labctl dri", ["drill"]),
        ("labctl completion ", ["bash", "zsh", "fish"]),
        ("labctl up --control", ["--control-planes"]),
        ("labctl up --timing ", ["default", "fast", "drill"]),
        ("labctl up --cni r", ["routed"]),
        ("labctl drill worker-p", ["worker-poweroff"]),
        ("labctl status --lab ", ["two"]),
        ("labctl ssh --lab two ", ["two-worker-1"]),
        ("labctl bundle v", ["verify"]),
    ],
)
def test_bash_completes(line: str, offered: list[str], env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "labctl.bash").write_text(script("bash", env))
    asked = f"""
        source {tmp_path}/labctl.bash
        complete -p labctl >&2
        IFS=' ' read -ra COMP_WORDS <<< {line!r}
        [[ {line!r} == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _labctl_completion labctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "_labctl_completion labctl" in done.stderr, "bash knows the function as labctl's completion"
    assert set(offered) <= set(done.stdout.split())
    if not line.endswith(" "):
        assert done.stdout.split() == offered


@pytest.mark.parametrize(("shell", "names_it"), [("zsh", "#compdef labctl"), ("fish", "complete --no-files --command")])
def test_zsh_and_fish_get_a_script_in_their_own_language(shell: str, names_it: str, env: dict[str, str]) -> None:
    text = script(shell, env)
    assert names_it in text
    assert f"_LABCTL_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", text], env=env, check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "labctl.fish").write_text(script("fish", env))
    asked = f"source {tmp_path}/labctl.fish; complete --do-complete 'labctl ssh --lab two '"
    done = subprocess.run(["fish", "--no-config", "-c", asked], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["two-worker-1"]


def test_fish_and_zsh_get_words_with_help(env: dict[str, str], tmp_path: Path) -> None:
    for shell, first in (("fish", "plain,drill\t"), ("zsh", "plain\ndrill\n")):
        asked = {"_LABCTL_COMPLETE": f"{shell}_complete", "COMP_WORDS": "labctl dri", "COMP_CWORD": "1"}
        asked["COMP_CWORD"] = "dri" if shell == "fish" else "1"
        done = subprocess.run(
            ["labctl"], env={**env, **asked}, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout.startswith(first), done.stdout


def test_an_unknown_shell_is_misuse(env: dict[str, str]) -> None:
    done = subprocess.run(["labctl", "completion", "tcsh"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bash" in done.stderr
