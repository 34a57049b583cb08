"""What a person can do when this host has run out of something in the middle of a command."""

from __future__ import annotations

import errno

AGAIN = "then run the same command again: it takes up where this one stopped"

_HINTS = {
    errno.ENOSPC: f"the disk is full: free some space (labctl doctor says how much), {AGAIN}",
    errno.EDQUOT: f"the disk quota is used up: free some space, {AGAIN}",
    errno.EROFS: "the disk is read-only: mount it for writing, or let LABCTL_HOME and XDG_CACHE_HOME name another",
    errno.ENOMEM: f"this host is out of memory: close what takes much (labctl doctor), {AGAIN}",
    errno.EAGAIN: f"this host has no room for another process (labctl doctor): end some, {AGAIN}",
    errno.EMFILE: f"too many open files for one process: ulimit -n 65536, {AGAIN}",
    errno.ENFILE: f"this host has too many open files: sudo sysctl -w fs.file-max=1000000, {AGAIN}",
}
_ELSEWHERE = "LABCTL_HOME and XDG_CACHE_HOME say where labctl writes; labctl doctor looks at the space"
_SAID = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "cannot allocate memory": errno.ENOMEM,
    "out of memory": errno.ENOMEM,
    "resource temporarily unavailable": errno.EAGAIN,
    "can't start new thread": errno.EAGAIN,
    "too many open files": errno.EMFILE,
}


def hint_of(error: OSError) -> str:
    """What mends `error`, which labctl itself met."""
    return _HINTS.get(error.errno or 0, _ELSEWHERE)


def hint_in(text: str) -> str:
    """What mends an error that another program met and told in `text`; nothing if it was something else."""
    return next((_HINTS[number] for words, number in _SAID.items() if words in text.lower()), "")
