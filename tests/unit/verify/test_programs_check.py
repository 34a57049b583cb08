"""The check of the programs' owners, on a machine that only answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from labctl.verify import Expect
from tests.nodes import test_programs as checks


def test_a_folder_that_is_found_from_two_sides_is_named_once() -> None:
    node: Any = SimpleNamespace(output=lambda _: "/opt/cni/bin\n/opt/cni/bin\n/opt/cni/bin/host-local\n")
    expect = Expect()
    checks.test_programs_are_roots(node, expect)
    assert [seen for seen, _ in expect.wrong] == ["files that others can change: /opt/cni/bin, /opt/cni/bin/host-local"]
