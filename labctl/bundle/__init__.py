"""The bundle: programs, OCI images and a manifest; Kubernetes is installed from it alone.

>>> bundle = ensure("1.37.2", emit)
>>> bundle.program("kubectl")
"""

from labctl.bundle.catalog import known_versions
from labctl.bundle.model import Bundle, ImageEntry, Manifest, ProgramEntry, open_bundle
from labctl.bundle.source import check_prerequisites, ensure, find

__all__ = [
    "Bundle",
    "ImageEntry",
    "Manifest",
    "ProgramEntry",
    "check_prerequisites",
    "ensure",
    "find",
    "known_versions",
    "open_bundle",
]
