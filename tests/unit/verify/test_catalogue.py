from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

from labctl.verify import run
from labctl.verify.deviations import DEVIATIONS
from tests.e2e.breakers import BREAKERS


def test_no_check_without_its_breaker_and_no_breaker_without_its_check() -> None:
    checks = {check.id for check in run.catalogue()}
    # What deviates cannot fail: it has a reason instead.
    assert checks - set(DEVIATIONS) == {number for breaker in BREAKERS for number in breaker.checks} - set(DEVIATIONS)


def test_numbers_are_given_once() -> None:
    numbers = Counter(check.id for check in run.catalogue())
    assert [number for number, count in numbers.items() if count > 1] == []


def test_deviations_are_of_checks_that_exist() -> None:
    assert set(DEVIATIONS) - {check.id for check in run.catalogue()} == set()


def test_every_check_says_why_it_matters_and_what_to_do() -> None:
    for check in run.catalogue():
        assert check.title, check.id
        assert check.why.endswith("."), check.id
        assert check.fix, check.id


def test_the_checks_need_nothing_but_labctl_and_what_it_needs() -> None:
    """In a clone, pytest loads tests/conftest.py with them; libraries of this project's own tests are not there."""
    here = Path(__file__).parents[2]
    known = {*sys.stdlib_module_names, "labctl", "pytest", "testinfra", "tests", "yaml", "jinja2"}
    for file in [here / "conftest.py", *(here / "nodes").glob("*.py"), *(here / "cluster").glob("*.py")]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= known, file
