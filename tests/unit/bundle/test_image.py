from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from labctl.bundle.image import Entry, File, Folder, Image, Link, minimal_root, write


def image(*entries: Entry, entrypoint: tuple[str, ...] = (), command: tuple[str, ...] = ()) -> Image:
    return Image("localhost/demo:1", "amd64", entries, entrypoint, command)


def unpack(path: Path) -> tuple[dict[str, bytes], dict[str, Any], tarfile.TarFile]:
    """The blobs by digest, the image's config and its layer, each reached by the digests that lead to it."""
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    blobs = {name.removeprefix("blobs/sha256/"): data for name, data in files.items() if name.startswith("blobs/")}
    index = json.loads(files["index.json"])
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    manifest = json.loads(follow(blobs, index["manifests"][0]))
    config = json.loads(follow(blobs, manifest["config"]))
    layer = follow(blobs, manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    blobs["index"] = files["index.json"]
    return blobs, config, tarfile.open(fileobj=io.BytesIO(layer))


def follow(blobs: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    data = blobs[descriptor["digest"].removeprefix("sha256:")]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    assert len(data) == descriptor["size"]
    return data


def test_every_digest_leads_to_its_content(tmp_path: Path) -> None:
    write(image(File("bin/x", b"program"), entrypoint=("/bin/x",), command=("--all",)), tmp_path / "i.tar")
    _, config, layer = unpack(tmp_path / "i.tar")
    assert config["architecture"] == "amd64"
    assert config["config"]["Entrypoint"] == ["/bin/x"]
    assert config["config"]["Cmd"] == ["--all"]
    assert "/usr/local/bin" in config["config"]["Env"][0]
    assert layer.extractfile("bin/x").read() == b"program"  # type: ignore[union-attr]


def test_containerd_and_podman_find_the_name(tmp_path: Path) -> None:
    write(image(File("x", b"")), tmp_path / "i.tar")
    blobs, _, _ = unpack(tmp_path / "i.tar")
    names = json.loads(blobs["index"])["manifests"][0]["annotations"]
    assert names["io.containerd.image.name"] == "localhost/demo:1"
    assert names["org.opencontainers.image.ref.name"] == "localhost/demo:1"


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"program")
    entries: list[Entry] = [File("bin/x", program), Link("bin/y", "x"), *minimal_root()]
    write(image(*entries), tmp_path / "one.tar")
    os.utime(program, (1, 1))
    program.chmod(0o600)
    write(image(*reversed(entries)), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["one.tar", "program", "two.tar"]


def test_a_changed_file_gives_other_bytes(tmp_path: Path) -> None:
    write(image(File("x", b"one")), tmp_path / "one.tar")
    write(image(File("x", b"two")), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() != (tmp_path / "two.tar").read_bytes()


def test_the_layer_is_sorted_and_belongs_to_root(tmp_path: Path) -> None:
    write(image(Link("b/link", "/a"), File("b/c/deep", b"x", 0o644), Folder("tmp", 0o1777)), tmp_path / "i.tar")
    _, _, layer = unpack(tmp_path / "i.tar")
    members = layer.getmembers()
    assert [member.name for member in members] == ["b", "b/c", "b/c/deep", "b/link", "tmp"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert [oct(member.mode) for member in members] == ["0o755", "0o755", "0o644", "0o777", "0o1777"]
    assert members[3].linkname == "/a"


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside"])
def test_a_path_outside_the_image_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        write(image(File(path, b"")), tmp_path / "i.tar")
    assert list(tmp_path.glob("*.layer")) == []


def test_a_path_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        write(image(File("x", b"1"), Link("x", "y")), tmp_path / "i.tar")
