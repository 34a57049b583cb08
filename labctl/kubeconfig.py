"""Merges a lab's kubeconfig into a person's own, under a lock, as kubectl takes it (``<file>.lock``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from filelock import SoftFileLock, Timeout

from labctl.errors import StateError, UsageError
from labctl.state import write_file

_LOCK_PATIENCE_S = 10


def merge(source: Path, target: Path, lab: str) -> str:
    """Put cluster, user and context of `source` into `target` under the name ``labctl-<lab>``; returns that name.

    kubectl locks a kubeconfig by creating ``<file>.lock``; so does this. Raises `StateError` if it stays locked,
    `UsageError` if `target` is no kubeconfig.
    """
    name = f"labctl-{lab}"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with SoftFileLock(f"{target}.lock", timeout=_LOCK_PATIENCE_S):
            merged = _merged(_read(source), _read(target) if target.exists() else {}, name)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
            write_file(Path(os.path.realpath(target)), yaml.safe_dump(merged, sort_keys=False), mode)
    except Timeout as error:
        raise StateError(
            f"{target}.lock is held by another program", f"if none is running: rm {target}.lock"
        ) from error
    return name


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no kubeconfig: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} is no kubeconfig")
    return data


def _merged(source: dict[str, Any], target: dict[str, Any], name: str) -> dict[str, Any]:
    entries = {
        "clusters": {"name": name, "cluster": source["clusters"][0]["cluster"]},
        "users": {"name": name, "user": source["users"][0]["user"]},
        "contexts": {"name": name, "context": {"cluster": name, "user": name}},
    }
    merged = {"apiVersion": "v1", "kind": "Config", **target}
    for section, entry in entries.items():
        others = [item for item in merged.get(section) or [] if item.get("name") != name]
        merged[section] = [*others, entry]
    merged["current-context"] = name
    return merged
