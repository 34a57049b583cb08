"""Programs that labctl itself runs on this machine: made as a bundle's are and kept beside them, part of none."""

from __future__ import annotations

from pathlib import Path

from labctl.bundle import workshop
from labctl.bundle.golang import find_go
from labctl.bundle.recipe import GoGroup, host_arch
from labctl.bundle.source import locked
from labctl.errors import PrerequisiteError
from labctl.events import Emit


def why_not(group: GoGroup) -> PrerequisiteError | None:
    """What lacks on this machine to build `group`, or nothing."""
    try:
        find_go(group.go_needed, group.title)
    except PrerequisiteError as error:
        return error
    return None


def ensure(group: GoGroup, emit: Emit) -> Path:
    """The folder with the programs of `group`, built now or before. Raises `PrerequisiteError` without Go."""
    go, arch = find_go(group.go_needed, group.title), host_arch()
    with locked(emit):
        return workshop.make_one(group, arch, go.version, workshop.maker(go, arch), emit).folder
