"""Puts built programs together as a bundle: hard links, image tars, licences, manifest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from labctl import paths
from labctl.bundle import image
from labctl.bundle.debian import DebianFiles
from labctl.bundle.image import Entry, File, Image, file_sha256
from labctl.bundle.model import FOLDERS, MANIFEST, Bundle, ImageEntry, Manifest, ProgramEntry, open_bundle
from labctl.bundle.recipe import GoGroup, ImageRecipe, Recipe
from labctl.bundle.workshop import Built


def assemble(recipe: Recipe, built: Mapping[str, Built], go_version: str) -> Bundle:
    """Make the bundle of `recipe` from the groups `built`, and give it its final name when it is complete."""
    partial = new_folder()
    try:
        for group in built.values():
            _link_tree(group.folder / "licences", partial / "licences")
        manifest = Manifest(
            kubernetes=recipe.version,
            arch=recipe.arch,
            source="build",
            go=go_version,
            recipe=recipe.hash,
            components={group.name.replace("-", "_"): group.version for group in recipe.go_groups},
            programs=list(_programs(recipe, built, partial)),
            images=list(_images(recipe, built, partial)),
            licences=_checksums(partial / "licences"),
        )
        (partial / MANIFEST).write_text(manifest.text(), encoding="utf-8")
        return open_bundle(publish(partial, recipe.hash))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def new_folder() -> Path:
    """An empty bundle under a name of its own, until it is complete; removes what killed runs left. Needs the lock."""
    paths.bundles().mkdir(parents=True, exist_ok=True)
    for left in paths.bundles().glob(".partial-*"):
        shutil.rmtree(left)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=paths.bundles()))
    partial.chmod(0o755)
    for folder in FOLDERS:
        (partial / folder).mkdir()
    return partial


def folder_of(recipe: str) -> Path:
    """Where the finished bundle of the recipe with this hash is kept."""
    return paths.bundles() / recipe


def publish(partial: Path, recipe: str) -> Path:
    """Give `partial` its final name; what was there (damaged, or to be replaced) is moved away first."""
    target = folder_of(recipe)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=".partial-old-", dir=target.parent))
        target.rename(old / target.name)
        partial.rename(target)
        shutil.rmtree(old)
    else:
        partial.rename(target)
    return target


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


def _programs(recipe: Recipe, built: Mapping[str, Built], target: Path) -> Iterator[ProgramEntry]:
    for group in recipe.go_groups:
        for program in group.programs:
            if program.folder:
                path = f"{program.folder}/{program.name}"
                link(built[group.name].folder / program.name, target / path)
                yield ProgramEntry(
                    name=program.name,
                    path=path,
                    version=group.version,
                    sha256=built[group.name].sha256[program.name],
                    size=(target / path).stat().st_size,
                    origin=group.origin,
                    licence=group.licence,
                )


def _images(recipe: Recipe, built: Mapping[str, Built], target: Path) -> Iterator[ImageEntry]:
    makers = {program.name: group for group in recipe.go_groups for program in group.programs}
    for wanted in recipe.images:
        path = f"images/{wanted.file_name}"
        contents = Image(
            ref=wanted.ref,
            arch=recipe.arch,
            entries=tuple(_entries(wanted, recipe, built, makers)),
            entrypoint=wanted.entrypoint,
            command=wanted.command,
        )
        image.write(contents, target / path)
        yield ImageEntry(
            ref=wanted.ref,
            path=path,
            sha256=file_sha256(target / path),
            size=(target / path).stat().st_size,
            origin=", ".join(_origins(wanted, recipe, built, makers)),
            used_by=wanted.used_by,
        )


def _entries(
    wanted: ImageRecipe, recipe: Recipe, built: Mapping[str, Built], makers: Mapping[str, GoGroup]
) -> Iterator[Entry]:
    yield from image.minimal_root()
    for path, name in wanted.files.items():
        yield File(path, built[makers[name].name].folder / name)
    debian = DebianFiles(built[recipe.debian.name].folder)
    if wanted.extra == "network-tools":
        yield from debian.network_tools()
    elif wanted.extra == "busybox":
        yield from debian.busybox()


def _origins(
    wanted: ImageRecipe, recipe: Recipe, built: Mapping[str, Built], makers: Mapping[str, GoGroup]
) -> Iterator[str]:
    yield from dict.fromkeys(makers[name].origin for name in wanted.files.values())
    versions = DebianFiles(built[recipe.debian.name].folder).versions()
    packages = {"": [], "network-tools": list(recipe.debian.programs.values()), "busybox": [recipe.debian.busybox]}
    for package in packages[wanted.extra]:
        yield f"debian {recipe.debian.suite} {package} {versions[package]}"


def _link_tree(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                link(file, place)


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the two are on different disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
