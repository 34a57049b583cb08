"""The bundle: programs, OCI images and a manifest; Kubernetes is installed from it alone.

>>> bundle = ensure("1.37.2", emit)
>>> bundle.program("kubectl")
"""

from labctl.bundle.archive import pack
from labctl.bundle.catalog import known_versions
from labctl.bundle.model import Bundle, ImageEntry, Manifest, ProgramEntry, open_bundle
from labctl.bundle.prune import Pruned
from labctl.bundle.recipe import ARCHES, arch_of
from labctl.bundle.runnable import kubectl
from labctl.bundle.source import check_prerequisites, ensure, ensure_whole, find, import_file, prune_cache

__all__ = [
    "ARCHES",
    "Bundle",
    "ImageEntry",
    "Manifest",
    "ProgramEntry",
    "Pruned",
    "arch_of",
    "check_prerequisites",
    "ensure",
    "ensure_whole",
    "find",
    "import_file",
    "known_versions",
    "kubectl",
    "open_bundle",
    "pack",
    "prune_cache",
]
