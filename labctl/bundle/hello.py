"""The hello-world image of a downloaded bundle: busybox's web server with the page, for there is no Go to build one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from labctl.bundle import image
from labctl.bundle.image import File, Folder, Part
from labctl.bundle.registry import Pulled
from labctl.errors import LabError

REF = "localhost/helloworld:1"
_HERE = Path(__file__).resolve().parent
_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
# What Docker calls its layers; an OCI manifest wants OCI's names.
_LAYERS = {"application/vnd.docker.image.rootfs.diff.tar.gzip": _GZIP}


def files() -> tuple[File | Folder, ...]:
    """What is added to busybox. A folder without a page of its own is answered by cgi-bin/index.cgi."""
    return (
        File("hello/start", _HERE / "www/start"),
        File("www/cgi-bin/index.cgi", _HERE / "www/index.cgi"),
        File("www/page.html", _HERE / "go/helloworld/page.html", 0o644),
        File("www/healthz", b"ok", 0o644),
        Folder("www/api"),
    )


def write(busybox: Pulled, blobs: Mapping[str, Path], arch: str, target: Path) -> None:
    """Write the image to the file `target`: the layers of `busybox`, whose files are `blobs`, and one of labctl's."""
    layer_file = target.with_name(target.name + ".layer")
    try:
        own = image.write_layer(files(), layer_file)
        base = busybox.manifest
        config = image.json_bytes(_config(blobs[base.config.sha256], own))
        config_part = Part("application/vnd.oci.image.config.v1+json", hashlib.sha256(config).hexdigest(), len(config))
        below = [Part(_LAYERS.get(part.media_type, part.media_type), part.sha256, part.size) for part in base.layers]
        manifest = image.json_bytes(image.manifest_of(config_part, [*below, own]))
        sources: dict[str, Path | bytes] = {config_part.sha256: config, own.sha256: layer_file}
        sources |= {part.sha256: blobs[part.sha256] for part in base.layers}
        image.pack(target, REF, arch, manifest, sources)
    finally:
        layer_file.unlink(missing_ok=True)


def _config(base: Path, own: Part) -> dict[str, object]:
    """Busybox's configuration with one layer more and another program to start."""
    try:
        config = json.loads(base.read_bytes())
        config["rootfs"]["diff_ids"].append(f"sha256:{own.sha256}")
        config["config"] = {**(config.get("config") or {}), "Entrypoint": ["/bin/sh", "/hello/start"], "Cmd": None}
        config["history"] = [*(config.get("history") or []), {"created_by": "labctl"}]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(
            f"the busybox image of the registry has a configuration that labctl cannot read: {error}"
        ) from error
    result: dict[str, object] = config
    return result
