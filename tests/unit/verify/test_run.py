"""pytest for real, on checks that look at this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from labctl import paths, state
from labctl.errors import LabError, StateError, UsageError
from labctl.verify import run
from labctl.verify.model import Report, Result
from labctl.verify.run import Choice, ahead, verify
from labctl.verify.target import Target

INVENTORY = """
all:
  vars: {ansible_connection: local}
  children:
    control_planes: {hosts: {one: {}}}
    workers: {hosts: {two: {}}}
"""
CHECKS = """
import pytest
from labctl.verify import check

@check("NODE-001", "one is one", why="Sums.", fix="count")
def test_passes(host, expect):
    expect("1", 1, 1)
    expect.nothing("offenders", [])

@check("NODE-002", "both are looked at", why="Sums.", fix="count", on="worker")
def test_fails(host, expect):
    expect("first", 1, 2)
    expect.within("second", "less than 2", 3, lambda seen: seen < 2)

@check("NODE-003", "it crashes", why="Bugs.", fix="mend", on="control-plane")
def test_crashes(host, expect):
    raise RuntimeError("no answer")

@check("NODE-004", "it is skipped", why="Facts.", fix="none", on="control-plane")
def test_skips(host, expect):
    pytest.skip("no swap here")

@check("NODE-005", "it looks at nothing", why="Bugs.", fix="mend", on="control-plane")
def test_looks_at_nothing(host, expect):
    pass

@check("CIS-1.2.10", "it is deep", why="Time.", fix="wait", on="control-plane", deep=True)
def test_deep(host, expect):
    expect("profiling", "false", "true")
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    inventory, folder = tmp_path / "inventory.yml", tmp_path / "nodes"
    folder.mkdir()
    inventory.write_text(INVENTORY)
    (folder / "test_some.py").write_text(CHECKS)
    monkeypatch.setattr(paths, "checks", lambda: [folder])
    return Target("lab", inventory, "1.37.2")


def test_a_remedy_names_the_lab_and_deep_checks_have_it_to_themselves(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    checks = tmp_path / "nodes" / "test_some.py"
    checks.write_text(CHECKS.replace('fix="count"', 'fix="labctl kubectl -- get pods; labctl up"'))
    lab = replace(target, name="two", control=tmp_path / "control")
    fixes = {result.fix for result in verify(lab, Choice(only=("NODE-001",))).results}
    assert fixes == {"labctl kubectl --lab two -- get pods; labctl up --lab two"}
    assert {result.fix for result in verify(target, Choice(only=("NODE-001",))).results} == {
        "labctl kubectl -- get pods; labctl up"
    }
    with state.lock("two"):
        for deep in (Choice(deep=True), Choice(only=("CIS-1.2.10",))):
            with pytest.raises(StateError, match="at work on the lab two"):
                verify(lab, deep)
        assert verify(lab, Choice(only=("NODE-001",))).results, "the quick ones change nothing"


def plain_pytest(target: Target, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    where = ["-c", os.devnull, f"--rootdir={tmp_path}", str(tmp_path / "nodes")]
    machines = ["--hosts=ansible://all", f"--ansible-inventory={target.inventory}", "--labctl-deep"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    argv = [sys.executable, "-m", "pytest", *where, *machines, *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def by_number(report: Report) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in report.results:
        found.setdefault(result.id, []).append(result)
    return found


def test_each_result_says_what_was_seen_and_what_was_expected(target: Target) -> None:
    heard: list[Result] = []
    report = verify(target, on_result=heard.append)
    found = by_number(report)
    assert [(result.subject, result.status) for result in found["NODE-001"]] == [("one", "passed"), ("two", "passed")]
    assert found["NODE-001"][0].seen == found["NODE-001"][0].expected == "1: 1; offenders: none"
    (failed,) = found["NODE-002"]
    assert (failed.subject, failed.status) == ("two", "failed")
    assert (failed.seen, failed.expected) == ("first: 2; second: 3", "first: 1; second: less than 2")
    assert (failed.why, failed.fix) == ("Sums.", "count")
    assert [(r.status, r.reason) for r in found["NODE-004"]] == [("skipped", "no swap here")]
    assert sorted(heard, key=str) == sorted(report.results, key=str)


def test_a_check_that_crashes_or_looks_at_nothing_is_an_error_and_no_pass(target: Target) -> None:
    found = by_number(verify(target))
    assert [(r.status, r.seen) for r in found["NODE-003"]] == [("error", "RuntimeError: no answer")]
    assert [(r.status, r.seen) for r in found["NODE-005"]] == [("error", "the check looked at nothing")]
    assert {r.id for r in verify(target).bad} == {"NODE-002", "NODE-003", "NODE-005"}


def test_checks_are_chosen_and_left_out_with_a_reason(target: Target) -> None:
    report = verify(target, Choice(only=("node-00[12]",), skip=(("NODE-002", "known"),)))
    assert [(r.id, r.subject, r.status, r.reason) for r in report.results] == [
        ("NODE-001", "one", "passed", ""),
        ("NODE-001", "two", "passed", ""),
        ("NODE-002", "two", "skipped", "known"),
    ]


def test_deep_checks_are_made_if_asked_for_or_called_by_their_number(target: Target) -> None:
    assert "CIS-1.2.10" not in by_number(verify(target))
    assert "CIS-1.2.10" in by_number(verify(target, Choice(deep=True)))
    assert list(by_number(verify(target, Choice(only=("CIS-1.2.10",))))) == ["CIS-1.2.10"]


@pytest.fixture
def deviation(target: Target, tmp_path: Path) -> None:
    assert target
    (tmp_path / "nodes" / "conftest.py").write_text(
        "from labctl.verify.deviations import DEVIATIONS\nDEVIATIONS['CIS-1.2.10'] = 'a lab is looked into'\n"
    )


@pytest.mark.usefixtures("deviation")
def test_a_deviation_has_its_reason_and_is_no_failure(target: Target) -> None:
    (result,) = by_number(verify(target, Choice(deep=True)))["CIS-1.2.10"]
    assert (result.status, result.reason, result.is_bad) == ("deviates", "a lab is looked into", False)
    assert result.seen == "profiling: true"


def test_a_check_may_excuse_one_machine_alone(target: Target, tmp_path: Path) -> None:
    excuse = "    if host.backend.get_hostname() == 'one': expect.excuse = 'one is old'\n    expect('1', 1, 2)"
    (tmp_path / "nodes" / "test_some.py").write_text(CHECKS.replace('    expect("1", 1, 1)', excuse))
    one, two = by_number(verify(target, Choice(only=("NODE-001",))))["NODE-001"]
    assert (one.status, one.reason, one.is_bad) == ("deviates", "one is old", False)
    assert (two.status, two.reason, two.is_bad) == ("failed", "", True)


@pytest.mark.usefixtures("deviation")
@pytest.mark.parametrize(("check", "told"), [("CIS-1.2.10", "profiling: true"), ("NODE-002", "1 failed")])
def test_plain_pytest_tells_a_deviation_from_a_failure(target: Target, tmp_path: Path, check: str, told: str) -> None:
    done = plain_pytest(target, tmp_path, f"--labctl-only={check}", "-rx")
    assert told in done.stdout, done.stdout + done.stderr
    assert done.returncode == (told == "1 failed")
    assert ("a lab is looked into" in done.stdout) is (check == "CIS-1.2.10")


def test_the_catalogue_is_in_order_of_numbers_and_needs_no_machine(target: Target) -> None:
    assert [check.id for check in run.catalogue()] == [
        "CIS-1.2.10",
        *[f"NODE-00{number}" for number in range(1, 6)],
    ]


@pytest.mark.parametrize(
    "choice",
    [
        Choice(only=("NODE-999",)),
        Choice(only=("NODE-001", "NODE-999")),
        Choice(skip=(("NODE-999", "why not"),)),
    ],
)
def test_a_number_that_no_check_has_is_told_before_anything_is_looked_at(target: Target, choice: Choice) -> None:
    heard: list[Result] = []
    with pytest.raises(UsageError, match="no check is numbered 'NODE-999'"):
        verify(target, choice, heard.append)
    assert not heard


def test_a_check_that_is_for_none_of_the_machines(target: Target) -> None:
    target.inventory.write_text(INVENTORY.replace("workers: {hosts: {two: {}}}", ""))
    with pytest.raises(UsageError, match="no machine here is one for NODE-002"):
        verify(target, Choice(only=("NODE-002",)))


def test_plain_pytest_says_that_an_inventory_has_no_machine(target: Target, tmp_path: Path) -> None:
    (tmp_path / "nodes" / "test_more.py").write_text(CHECKS)
    done = plain_pytest(replace(target, inventory=Path(os.devnull)), tmp_path)
    assert "No inventory was parsed" in done.stdout
    assert "INTERNALERROR" not in done.stdout


CLEANING = """
import os, pathlib, time
import pytest
from labctl.verify import check

@pytest.fixture
def work():
    yield
    time.sleep(1)
    pathlib.Path(__file__).with_name("cleaned").touch()

@check("NODE-001", "it takes long", why="Work.", fix="wait", on="worker")
def test_long(host, expect, work):
    pathlib.Path(__file__).with_name("begun").write_text("")
    time.sleep(30)
    pathlib.Path(__file__).with_name("ended").touch()
"""


def test_an_interruption_is_raised_after_the_checks_have_cleaned_up(target: Target, tmp_path: Path) -> None:
    """By a signal to labctl alone: no terminal tells pytest of it."""
    (tmp_path / "nodes" / "test_some.py").write_text(CLEANING)
    begun, cleaned = (tmp_path / "nodes" / name for name in ("begun", "cleaned"))
    os.mkfifo(begun)

    def interrupt() -> None:
        begun.read_text()  # until the check has begun
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    told: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        verify(target, on_interruption=lambda: told.append(cleaned.exists()))
    thread.join()
    assert told == [False]  # before, for it takes its time
    assert cleaned.exists()
    assert not cleaned.with_name("ended").exists()


GOOD = CHECKS.partition('@check("NODE-002"')[0]


def test_checks_that_run_ahead_hold_if_all_is_well_and_the_inventory_stays(target: Target, tmp_path: Path) -> None:
    checks = tmp_path / "nodes" / "test_some.py"
    with ahead(target) as report:
        assert report() is None, "something is broken"
    checks.write_text(GOOD)
    with ahead(target) as report:
        found = report()
    assert found is not None
    assert [result.status for result in found.results] == ["passed"] * 2
    with ahead(target) as report:
        target.inventory.write_text(INVENTORY + "# another lab\n")
        assert report() is None
    checks.write_text("import nothing_like_this\n")
    with ahead(target) as report:
        assert report() is None, "they are to fail once more, and say why"
    with ahead(None) as report:
        assert report() is None


def test_who_leaves_ends_the_checks_that_run_ahead(target: Target, tmp_path: Path) -> None:
    (tmp_path / "nodes" / "test_some.py").write_text(CLEANING)
    begun, cleaned = (tmp_path / "nodes" / name for name in ("begun", "cleaned"))
    os.mkfifo(begun)
    with ahead(target):
        begun.read_text()  # until the check has begun
    assert cleaned.exists()
    assert not cleaned.with_name("ended").exists()


def test_a_folder_without_checks_is_no_success(target: Target, tmp_path: Path) -> None:
    (tmp_path / "nodes" / "test_some.py").write_text("")
    with pytest.raises(LabError, match="ended with 5"):
        verify(target)


def test_checks_that_cannot_be_read_are_no_empty_report(target: Target, tmp_path: Path) -> None:
    (tmp_path / "nodes" / "test_some.py").write_text("import nothing_like_this\n")
    interruptions: list[bool] = []
    with pytest.raises(LabError, match="No module named 'nothing_like_this'"):
        verify(target, on_interruption=lambda: interruptions.append(True))
    assert not interruptions, "nobody interrupted"


@pytest.mark.parametrize("users", ["C", "POSIX", "de_DE.ISO-8859-1"])
def test_the_users_locale_is_no_obstacle(target: Target, monkeypatch: pytest.MonkeyPatch, users: str) -> None:
    """ansible-inventory, which testinfra calls, refuses one that is not UTF-8 or not installed."""
    monkeypatch.setenv("LC_ALL", users)
    assert [result.subject for result in verify(target, Choice(only=("NODE-001",))).results] == ["one", "two"]


def test_an_inventory_that_cannot_be_read(target: Target) -> None:
    target.inventory.write_text("all: [")
    with pytest.raises(LabError, match="No inventory was parsed"):
        verify(target)


def test_a_file_that_cannot_be_read_is_named_and_its_remedy_is_about_it(target: Target, tmp_path: Path) -> None:
    raising = "raise UnreadableError('/etc/x.yaml', 'line 14:\\n  no colon')"
    text = CHECKS.replace("import pytest", "import pytest\nfrom labctl.verify.programs import UnreadableError")
    text = text.replace('raise RuntimeError("no answer")', raising)
    (tmp_path / "nodes" / "test_some.py").write_text(text)
    (found,) = by_number(verify(target))["NODE-003"]
    assert (found.status, found.seen) == ("error", "/etc/x.yaml cannot be read: line 14: no colon")
    assert found.fix == "mend /etc/x.yaml there, or bring it back"


SILENT = """
import pytest
from labctl.verify import check
from labctl.verify.plugin import skip_silent

@check("NODE-001", "answers", why="w", fix="f")
def test_answers(host, expect):
    expect("the machine answers", "yes", "no way")

@pytest.fixture
def node(request):
    skip_silent(request, "the machine does not answer")

@check("NODE-002", "more", why="w", fix="f")
def test_more(host, expect, node):
    expect("never", 1, 1)
"""


@pytest.mark.parametrize(("only", "status"), [((), "skipped"), (("NODE-002",), "error")])
def test_nothing_is_verified_on_a_machine_that_does_not_answer(
    target: Target, tmp_path: Path, only: tuple[str, ...], status: str
) -> None:
    (tmp_path / "nodes" / "test_some.py").write_text(SILENT)
    report = verify(target, Choice(only))
    assert {result.status for result in by_number(report)["NODE-002"]} == {status}
    assert report.bad


def test_what_cannot_be_read_is_one_error_however_many_checks_want_it(target: Target, tmp_path: Path) -> None:
    checks = """
import pytest
from labctl.verify import check
from labctl.verify.programs import UnreadableError
"""
    for number in (1, 2):
        checks += f"""
@check("NODE-00{number}", "t", why="w", fix="f")
def test_{number}(host, expect):
    raise UnreadableError("/etc/x", "no YAML")
"""
    (tmp_path / "nodes" / "test_some.py").write_text(checks)
    found = by_number(verify(target))
    assert {result.status for result in found["NODE-001"]} == {"error"}
    assert {(result.status, result.reason) for result in found["NODE-002"]} == {
        ("skipped", "/etc/x cannot be read: see NODE-001")
    }
