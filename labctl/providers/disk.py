"""A machine's /var: cloned from the node image's in a fraction of a second, for what never changes is hard-linked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_CONTAINERD = "lib/containerd"
_IMMUTABLE = (
    f"{_CONTAINERD}/io.containerd.content.v1.content/blobs",
    f"{_CONTAINERD}/io.containerd.snapshotter.v1.overlayfs/snapshots",
)
"""containerd writes a blob or a committed snapshot once and never again; its databases, and all else, are copied."""


def clone(golden: Path, target: Path) -> None:
    """Make `target` a tree equal to `golden`. Hard links need one file system; across two, files are copied.

    Written beside `target` and renamed at the end, so that `target` is whole if it exists.
    """
    if target.exists():
        return
    unfinished = _unfinished(target)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    immutable = tuple(golden / part for part in _IMMUTABLE)
    links = target.parent.stat().st_dev == golden.stat().st_dev
    _clone_folder(golden, unfinished, immutable if links else ())
    unfinished.rename(target)


def discard(target: Path) -> None:
    """Remove the disk `target`, whole or unfinished. Renamed first: half a disk never bears the name."""
    unfinished = _unfinished(target)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    if target.exists():
        target.rename(unfinished)
        shutil.rmtree(unfinished)


def _clone_folder(source: Path, target: Path, immutable: tuple[Path, ...], *, link: bool = False) -> None:
    link = link or source in immutable
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            to = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                _clone_folder(Path(entry.path), to, immutable, link=link)
            elif link:
                os.link(entry.path, to, follow_symlinks=False)
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                shutil.copy2(entry.path, to, follow_symlinks=False)
                _same_owner(Path(entry.path), to)
    shutil.copystat(source, target)
    _same_owner(source, target)


def _unfinished(target: Path) -> Path:
    return target.with_name(target.name + ".unfinished")


def _same_owner(source: Path, target: Path) -> None:
    stat = source.lstat()
    if (stat.st_uid, stat.st_gid) != (0, 0):
        os.chown(target, stat.st_uid, stat.st_gid, follow_symlinks=False)
        if not target.is_symlink():
            target.chmod(stat.st_mode & 0o7777)
