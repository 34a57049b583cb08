"""A kubectl for this machine: a bundle is for the lab's machines, which may be of another kind."""

from __future__ import annotations

import sys
from pathlib import Path

from labctl import process
from labctl.bundle.model import Bundle
from labctl.bundle.recipe import host_arch
from labctl.errors import PrerequisiteError


def kubectl(bundle: Bundle) -> Path:
    """The kubectl of `bundle`, or, where that is for another kind of machine, the one in PATH.

    Raises `PrerequisiteError` if there is neither.
    """
    if sys.platform == "linux" and bundle.manifest.arch == host_arch():
        return bundle.program("kubectl")
    if not process.has("kubectl"):
        raise PrerequisiteError(
            f"the lab's own kubectl is for Linux on {bundle.manifest.arch}, not for this machine",
            f"install kubectl {bundle.manifest.kubernetes}: https://kubernetes.io/docs/tasks/tools/",
        )
    return Path("kubectl")
