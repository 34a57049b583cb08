"""The pytest plugin behind tests/nodes and tests/cluster; pytest loads it because labctl is installed.

It adds the fixture `expect`, chooses checks by --labctl-only, --labctl-skip and --labctl-deep, leaves out what is not
for a node of that role, and with --labctl-json prints one JSON object a result instead of pytest's own words.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest
import testinfra
from testinfra.host import Host

from labctl import process
from labctl.errors import UsageError
from labctl.verify.declare import Check, is_called
from labctl.verify.deviations import DEVIATIONS
from labctl.verify.expect import Expect, NothingToSeeError
from labctl.verify.model import CLUSTER, Result, Status
from labctl.verify.programs import UnreadableError
from labctl.verify.target import Target

_UNREADABLE = pytest.StashKey[dict[tuple[str, str], str]]()
_ANSWERS = "NODE-001"
_EXPECT = pytest.StashKey[Expect]()
_MACHINES = "--hosts='ansible://all' --ansible-inventory=INVENTORY; ansible://NAME is one of them"
_GROUPS = {"control-plane": "control_planes", "worker": "workers"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of plain pytest too."""
    group = parser.getgroup("labctl", "checks of a lab (tests/nodes, tests/cluster)")
    group.addoption("--labctl-only", action="append", default=[], metavar="ID", help="only these checks; CIS-1.* works")
    group.addoption("--labctl-skip", action="append", default=[], metavar="ID=REASON", help="all but these")
    group.addoption("--labctl-deep", action="store_true", help="what takes long, too")
    group.addoption("--labctl-json", action="store_true", help="one JSON object a result")


def pytest_configure(config: pytest.Config) -> None:
    """Know the mark; print results as JSON if asked."""
    config.addinivalue_line("markers", "check(info): a check of labctl verify")
    if config.getoption("labctl_json"):
        config.pluginmanager.register(_Printer(), "labctl-printer")


def look_at_inventory(config: pytest.Config) -> None:
    """Of plain pytest on checks: refuse what is no inventory of a cluster, before testinfra stumbles over it.

    Raises `pytest.UsageError`.
    """
    option = config.option
    if option.labctl_json or option.help or (option.collectonly and not (option.hosts or option.ansible_inventory)):
        return
    if not option.ansible_inventory:
        raise pytest.UsageError(f"checks need the machines of an inventory: {_MACHINES}")
    # testinfra calls ansible-inventory, which is beside this Python though that may not be in PATH.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{Path(sys.executable).parent}"
    os.environ["LC_ALL"] = process.utf8()
    try:
        Target.by_hand(Path(config.getoption("ansible_inventory")))
    except UsageError as error:
        raise pytest.UsageError(f"{error.message.removeprefix('--inventory ')}; {error.hint}") from error
    for word in (option.hosts or "").split(","):
        if not word.startswith("ansible://") and option.connection != "ansible":
            raise pytest.UsageError(f"--hosts={word} does not say a machine of the inventory: {_MACHINES}")
        if not testinfra.get_hosts([word], connection=option.connection, ansible_inventory=option.ansible_inventory):
            name = word.removeprefix("ansible://")
            raise pytest.UsageError(f"the inventory {option.ansible_inventory} has no machine or group {name}")


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Expect:
    """What the check sees, and what it expects."""
    item: pytest.Item = request.node
    return item.stash.setdefault(_EXPECT, Expect())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the checks that are asked for and fit their node; skip what is to be skipped, with its reason."""
    checks = [check for item in items if (check := info_of(item))]
    for pattern in (
        *config.getoption("labctl_only"),
        *(word.split("=")[0] for word in config.getoption("labctl_skip")),
    ):
        if not any(is_called(check, pattern) for check in checks):
            raise pytest.UsageError(f"no check here is numbered {pattern!r}: labctl verify --list has the numbers")
    unwanted = [item for item in items if info_of(item) and not _is_wanted(item, config)]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]
    for item in items:
        check = info_of(item)
        for pattern, _, reason in (word.partition("=") for word in config.getoption("labctl_skip")):
            if check and is_called(check, pattern):
                item.add_marker(pytest.mark.skip(reason=reason))


def skip_silent(request: pytest.FixtureRequest, why: str) -> NoReturn:
    """Leave out what cannot be looked at, for a machine does not answer: NODE-001 says so.

    Raises `NothingToSeeError` where nobody looks at NODE-001, for otherwise all would seem well.
    """
    told = any(check.id == _ANSWERS for item in request.session.items if (check := info_of(item)))
    if told:
        pytest.skip(f"{why} (see {_ANSWERS})")
    raise NothingToSeeError(why, f"labctl status: is the machine on? labctl verify --only {_ANSWERS}")


def info_of(item: pytest.Item) -> Check | None:
    """The check that a test is, if it is one."""
    mark = item.get_closest_marker("check")
    return mark.args[0] if mark else None


def _is_wanted(item: pytest.Item, config: pytest.Config) -> bool:
    check = info_of(item)
    assert check is not None
    only = config.getoption("labctl_only")
    if only and not any(is_called(check, pattern) for pattern in only):
        return False
    # Who asks for a check by its number gets it, deep or not.
    if check.deep and not (config.getoption("labctl_deep") or config.option.collectonly or check.id in only):
        return False
    groups = _host_groups(item)
    return check.on is None or groups is None or _GROUPS[check.on] in groups


def _host(item: pytest.Item) -> Any:  # noqa: ANN401 (testinfra is untyped)
    callspec = getattr(item, "callspec", None)
    host = callspec.params.get("_testinfra_host") if callspec else None
    # pytest puts a word of its own there if the inventory has no machine.
    return host if isinstance(host, Host) else None


def _host_groups(item: pytest.Item) -> list[str] | None:
    host = _host(item)
    if host is None or host.backend.get_connection_type() != "ansible":
        return None
    groups: list[str] = host.ansible.get_variables()["group_names"]
    return groups


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A check fails after it has looked at everything."""
    result = yield
    expect = pyfuncitem.stash.get(_EXPECT, None)
    if expect is not None:
        if expect.wrong:
            lines = "\n".join(f"saw {seen}; expected {expected}" for seen, expected in expect.wrong)
            reason = _deviation(info_of(pyfuncitem), expect)
            if reason:
                pytest.xfail(f"{lines}; {reason}")
            pytest.fail(lines, pytrace=False)
        if not expect.seen:
            pytest.fail("the check looked at nothing", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hang the result on pytest's report."""
    report = yield
    check = info_of(item)
    if check and (report.when == "call" or (report.when == "setup" and not report.passed)):
        report.labctl = _result(item, check, report, call)  # type: ignore[attr-defined] # for the printer below
    return report


def _result(item: pytest.Item, check: Check, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Result:
    expect = item.stash.get(_EXPECT, None) or Expect()
    host = _host(item)
    status, reason = _status(check, expect, report)
    wrong = expect.wrong
    raised = call.excinfo.value if call.excinfo else None
    if isinstance(raised, UnreadableError):
        told = item.session.stash.setdefault(_UNREADABLE, {})
        first = told.setdefault((host.backend.get_hostname() if host else CLUSTER, raised.path), check.id)
        if first != check.id:
            status, reason = "skipped", f"{raised.path} cannot be read: see {first}"
    fix = raised.fix if isinstance(raised, NothingToSeeError) else check.fix
    seen = [line for line, _ in wrong] or expect.seen
    return Result(
        id=check.id,
        title=check.title,
        subject=CLUSTER if host is None else host.backend.get_hostname(),
        status=status,
        seen=" ".join(("; ".join(seen) if status != "error" else _why(report, raised)).split()),
        expected="; ".join([expected for _, expected in wrong] or expect.expected) if status != "error" else "",
        why=check.why,
        fix=fix,
        reason=reason,
        deep=check.deep,
        past=check.past,
        seconds=round(report.duration, 3),
    )


def _status(check: Check, expect: Expect, report: pytest.TestReport) -> tuple[Status, str]:
    if report.passed:
        return "passed", ""
    if expect.wrong:
        reason = _deviation(check, expect)
        return ("deviates", reason) if reason else ("failed", "")
    if report.skipped:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return "skipped", text.removeprefix("Skipped: ")
    return "error", ""


def _deviation(check: Check | None, expect: Expect) -> str:
    """Why the check may find something else than it expects: everywhere, or on this machine."""
    return expect.excuse or (DEVIATIONS.get(check.id, "") if check else "")


def _why(report: pytest.TestReport, raised: BaseException | None) -> str:
    if isinstance(raised, AssertionError) and str(raised):
        return str(raised)[:500]
    lines = [line.removeprefix("E").strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return (lines or report.longreprtext.splitlines() or ["no reason was given"])[0][:500]


class _Printer:
    """Results, one JSON object a line, on stdout; with --collect-only the checks."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Print what there is, if nothing is to be run."""
        if session.config.option.collectonly:
            for check in dict.fromkeys(info_of(item) for item in session.items):
                if check:
                    print(json.dumps(asdict(check)), flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Print why tests cannot even be collected: not JSON, so it is no result."""
        if report.failed:
            print(report.longreprtext, flush=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the result of a check, if the report has one."""
        result = getattr(report, "labctl", None)
        if result is not None:
            print(result.model_dump_json(), flush=True)
