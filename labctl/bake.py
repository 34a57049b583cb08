"""The node image that machines in containers are clones of: baked once by the same roles that prepare any machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from labctl import ansible, inventory, paths, state
from labctl.bundle import Bundle
from labctl.config import LabConfig
from labctl.errors import PrerequisiteError, StateError
from labctl.events import Emit, Progress
from labctl.providers.base import Problem, Provider
from labctl.providers.container import ContainerProvider
from labctl.providers.node_image import NodeImage, key_of

_ROLES = ("node_base", "containerd", "kube_packages")


def is_baked(provider: Provider, bundle: Bundle | None) -> bool:
    """Whether there is nothing to bake: only containers are clones."""
    if not isinstance(provider, ContainerProvider):
        return True
    return bundle is not None and _image(provider, bundle).exists()


def ensure(provider: Provider, config: LabConfig, bundle: Bundle, run_dir: Path, emit: Emit) -> str:
    """Have the node image of `bundle`; says how it came to be."""
    if not isinstance(provider, ContainerProvider):
        return "none: the machines are no containers"
    image = _image(provider, bundle)
    provider.image = image.key
    if image.exists():
        return "cached"
    with image.lock():
        if image.exists():
            return "baked by another labctl meanwhile"
        refuse_damage(bundle)
        refuse_problems(provider.obstacles(config, is_baked=False))
        emit(Progress("this is done once, and again when a role or the bundle changes: about two minutes"))
        try:
            _bake(bundle, image, run_dir, emit)
        except BaseException:
            image.discard()
            raise
    return "baked"


def refuse_problems(problems: list[Problem]) -> None:
    """Raise `PrerequisiteError` that names all of them."""
    if problems:
        first, *others = [f"{problem.text}\n    fix: {problem.hint}" for problem in problems]
        raise PrerequisiteError("\n".join([first, *others]), "then run the same command again; labctl doctor checks")


def refuse_damage(bundle: Bundle) -> None:
    """Raise `StateError` if a file of the bundle is not what its manifest says: machines are installed from it."""
    problems = bundle.verify()
    if problems:
        raise StateError(
            f"the bundle {bundle.path} is damaged: " + "; ".join(problems),
            f"rm -r {bundle.path}, then the same command again: it makes it anew from what was built",
        )


def recipe_of(bundle: Bundle) -> str:
    """A hash of all that decides what a prepared machine looks like: the bundle, and the roles that install it."""
    digest = hashlib.sha256(bundle.key.encode())
    files = [paths.playbook("prepare.yml"), *sorted(paths.modules().glob("*.py"))]
    for role in _ROLES:
        files += sorted(path for path in (paths.roles() / role).rglob("*") if path.is_file())
    for path in files:
        digest.update(path.relative_to(paths.roles().parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _image(provider: ContainerProvider, bundle: Bundle) -> NodeImage:
    return NodeImage(key_of(recipe_of(bundle), provider.engine), provider.engine)


def _bake(bundle: Bundle, image: NodeImage, run_dir: Path, emit: Emit) -> None:
    machine, keys = image.start(emit)
    path = run_dir / "bake-inventory.yml"
    state.write_file(path, inventory.for_bake(machine.name, machine.address, bundle.path, keys))
    ansible.play(
        "prepare.yml",
        path,
        run_dir,
        emit,
        hosts={machine.name},
        variables={"lab_recipe": recipe_of(bundle)},
        control=paths.ssh_control(keys.folder),
    )
    image.seal()
