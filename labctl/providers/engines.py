"""Which engine a lab's machines are in."""

from __future__ import annotations

from contextlib import suppress

from labctl import state
from labctl.errors import PrerequisiteError, StateError
from labctl.providers import preflight, rootless
from labctl.providers.engine import NAMES, Engine


def choose(lab: str, wanted: str = "auto") -> Engine:
    """The engine that `wanted` names. With ``auto``: the one that the lab's record names, or else the first that works.

    Raises `PrerequisiteError` if it would be one on another machine.
    """
    record = state.find(lab)
    if wanted == "auto" and record:
        wanted = record.config.provider
    return first_working() if wanted == "auto" else local(Engine(wanted))


def first_working() -> Engine:
    """If none works, the first that is installed, so that `preflight.check` says what is wrong with it."""
    installed = _installed()
    return next((engine for engine in installed if not preflight.engine_problems(engine)), [*installed, Engine()][0])


def local(engine: Engine) -> Engine:
    """`engine`, unless it is one on another machine: there labctl would look for machines in vain."""
    for problem in preflight.elsewhere(engine):
        raise PrerequisiteError(problem.text, problem.hint)
    return engine


def working() -> list[Engine]:
    """All engines of this host that work."""
    return [engine for engine in _installed() if not preflight.engine_problems(engine)]


def _installed() -> list[Engine]:
    """Those whose program is there; in the user namespace of one, that one."""
    names = [rootless.inside()] if rootless.inside() else NAMES
    return [engine for engine in map(Engine, names) if engine.is_installed()]


def may_have(lab: str) -> list[Engine]:
    """The engines that may have machines of `lab`, whether or not its record can still be read.

    Raises `PrerequisiteError` if none works.
    """
    found = {engine.name: engine for engine in working()}
    with suppress(StateError):
        record = state.find(lab)
        if record and record.config.provider != "auto":
            found.setdefault(record.config.provider, local(Engine(record.config.provider)))
    if not found:
        # Nothing can be said without an engine.
        for problem in preflight.check(first_working()):
            raise PrerequisiteError(problem.text, problem.hint)
    return list(found.values())
