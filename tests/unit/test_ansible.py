import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from labctl import ansible
from labctl.errors import PlaybookError
from labctl.events import Event, TaskFinished, TaskStarted

UP = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Change something
      ansible.builtin.command: "true"
    - name: Fail where asked
      ansible.builtin.fail:
        msg: asked for
      when: broken | default('') == inventory_hostname
"""
INVENTORY = f"""
all:
  vars: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}
  hosts: {{one: {{}}, two: {{}}}}
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "play.yml").write_text(UP)
    monkeypatch.setattr("labctl.paths.playbook", lambda name: tmp_path / name)
    path = tmp_path / "inventory.yml"
    path.write_text(INVENTORY)
    return path


def play(inventory: Path, hosts: set[str], seen: list[Event], **variables: str) -> ansible.PlayResult:
    folder = inventory.parent
    return ansible.play(
        "play.yml", inventory, folder, seen.append, hosts=hosts, variables=variables, control=folder / "cp"
    )


def test_a_play_reports_tasks_hosts_and_changes(inventory: Path) -> None:
    seen: list[Event] = []
    assert play(inventory, {"one", "two"}, seen).changed == 2
    assert "Change something" in [event.task for event in seen if isinstance(event, TaskStarted)]
    results = {(event.host, event.result) for event in seen if isinstance(event, TaskFinished)}
    assert results == {("one", "changed"), ("two", "changed"), ("one", "skipped"), ("two", "skipped")}


def test_a_failed_task_names_host_task_message_and_log(inventory: Path) -> None:
    with pytest.raises(PlaybookError) as caught:
        play(inventory, {"one", "two"}, [], broken="two")
    assert "two" in caught.value.message
    assert "Fail where asked" in caught.value.message
    assert "asked for" in caught.value.message
    assert Path(caught.value.hint.removeprefix("the whole log: ")).is_file()


def test_a_play_that_reached_nobody_is_no_success(inventory: Path) -> None:
    with pytest.raises(PlaybookError, match="did nothing on three"):
        play(inventory, {"one", "two", "three"}, [])


def test_a_playbook_that_cannot_be_read_is_an_error(inventory: Path) -> None:
    (inventory.parent / "play.yml").write_text("- hosts: all\n  taskss: []\n")
    with pytest.raises(PlaybookError, match="taskss"):
        play(inventory, {"one"}, [])


def one_fails_while_two_writes(inventory: Path, after_s: int) -> Path:
    """A play in which `one` fails at once and `two` writes the file that is returned `after_s` seconds later."""
    written = inventory.parent / "written"
    (inventory.parent / "play.yml").write_text(f"""
- hosts: all
  strategy: free
  gather_facts: false
  tasks:
    - name: Start what the other waits for
      ansible.builtin.fail:
        msg: it cannot start
      when: inventory_hostname == 'one'
    - name: Wait for it
      ansible.builtin.shell: sleep {after_s}; touch {written}
""")
    return written


def test_nobody_waits_for_a_host_that_has_failed(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = one_fails_while_two_writes(inventory, 60)
    monkeypatch.setattr(ansible, "_OTHERS_MAY_FINISH_S", 1)
    with pytest.raises(PlaybookError, match="one: “Start what the other waits for” failed"):
        play(inventory, {"one", "two"}, [])
    assert not written.exists(), "the play was over before"


def test_the_others_may_finish_what_they_are_at(inventory: Path) -> None:
    written = one_fails_while_two_writes(inventory, 8)  # the runner looks every five
    with pytest.raises(PlaybookError, match="one: “Start what the other waits for” failed"):
        play(inventory, {"one", "two"}, [])
    assert written.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_or_a_sigterm_ends_the_play_and_is_raised_after_it(inventory: Path, number: signal.Signals) -> None:
    folder, written = inventory.parent, inventory.parent / "written"
    (folder / "play.yml").write_text(f"""
- hosts: one
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.shell: sleep 60; touch {written}
""")
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(event: Event) -> None:
        if isinstance(event, TaskStarted):
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        ansible.play("play.yml", inventory, folder, interrupt, hosts={"one"}, control=folder / "cp")
    assert not written.exists(), "nobody waits for the task"
    assert {each: signal.getsignal(each) for each in before} == before


@pytest.mark.parametrize("users", ["C", "de_DE.ISO-8859-1"])
def test_the_users_locale_is_no_obstacle(users: str, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible itself refuses both: not UTF-8, or not installed."""
    monkeypatch.setenv("LC_ALL", users)
    assert play(inventory, {"one", "two"}, []).changed == 2


def test_what_showing_an_event_raises_is_raised_by_the_play_and_no_traceback_is_printed(
    inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_event: Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = inventory.parent
    with pytest.raises(OSError, match="No space left"):
        ansible.play("play.yml", inventory, folder, full, hosts={"one"}, control=folder / "cp")
    assert "Traceback" not in capsys.readouterr().err


def test_macos_does_not_end_ansibles_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert "OBJC_DISABLE_INITIALIZE_FORK_SAFETY" not in ansible._environment()
    monkeypatch.setattr("sys.platform", "darwin")
    assert ansible._environment()["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] == "YES"
