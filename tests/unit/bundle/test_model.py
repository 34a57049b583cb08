from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from labctl.bundle.model import Bundle, Manifest, open_bundle
from labctl.errors import StateError, UsageError


def writable(path: Path) -> Path:
    path.chmod(0o755)
    return path


def test_a_fresh_bundle_is_whole(bundle: Bundle) -> None:
    assert bundle.verify() == []
    assert bundle.is_complete()


def test_the_manifest_survives_a_round_trip(bundle: Bundle) -> None:
    text = (bundle.path / "manifest.json").read_text(encoding="utf-8")
    assert Manifest.parse(text) == bundle.manifest
    assert Manifest.parse(text).text() == text
    value = json.loads(text)
    assert value["schema"] == "labctl.bundle/v1"
    assert value["key"] == bundle.key
    assert value["size"] == sum(entry["size"] for entry in value["programs"] + value["images"])


def test_it_says_what_is_in_it(bundle: Bundle) -> None:
    assert bundle.manifest.components == {"tools": "1.2.3", "server": "1.2.3"}
    assert [(entry.name, entry.path, entry.origin) for entry in bundle.manifest.programs] == [
        ("tool", "bin/tool", "example.org/tools@v1.2.3"),
        ("ptp", "cni/ptp", "example.org/tools@v1.2.3"),
    ]
    proxy, busybox = bundle.manifest.images
    assert proxy.origin == "example.org/server@v1.2.3, debian trixie nftables 1, debian trixie conntrack 2"
    assert busybox.origin == "debian trixie busybox-static 3"
    assert (bundle.path / "licences/example.org/tools@v1.2.3/LICENSE").is_file()


def test_an_image_holds_its_programs_and_extras(bundle: Bundle) -> None:
    for name, wanted in {
        "proxy": {"usr/local/bin/proxy", "usr/sbin/nft"},
        "busybox": {"bin/busybox", "bin/sh"},
    }.items():
        with tarfile.open(bundle.path / f"images/{name}.tar") as archive:
            layer = archive.extractfile(archive.getmembers()[-1])
            with tarfile.open(fileobj=layer) as files:
                assert wanted <= set(files.getnames())


def test_a_program_is_found_by_name(bundle: Bundle) -> None:
    assert bundle.program("tool").read_text(encoding="utf-8") == "tool 1.2.3"
    with pytest.raises(UsageError, match="no program kubectl"):
        bundle.program("kubectl")


def test_a_missing_file_is_named(bundle: Bundle) -> None:
    (bundle.path / "bin/tool").unlink()
    assert bundle.verify() == ["missing: bin/tool"]
    assert not bundle.is_complete()


def test_a_link_in_place_of_a_program_counts_as_missing(bundle: Bundle) -> None:
    tool = bundle.path / "bin/tool"
    tool.rename(bundle.path.parent / "elsewhere")
    tool.symlink_to(bundle.path.parent / "elsewhere")
    assert bundle.verify() == ["missing: bin/tool"]


def test_a_flipped_byte_is_named(bundle: Bundle) -> None:
    writable(bundle.path / "bin/tool").write_text("tool 1.2.4", encoding="utf-8")
    assert bundle.verify() == ["wrong checksum: bin/tool"]


def test_a_truncated_image_is_named(bundle: Bundle) -> None:
    image = bundle.path / "images/proxy.tar"
    size = image.stat().st_size
    image.write_bytes(image.read_bytes()[:-100])
    assert bundle.verify() == [f"wrong size: images/proxy.tar has {size - 100} bytes, not {size}"]
    assert not bundle.is_complete()


def test_a_program_that_cannot_be_run_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "ptp")
    assert bundle.verify() == ["not executable: cni/ptp"]


@pytest.mark.parametrize("name", ["bin/stranger", "images/deep/stranger.tar", "stranger"])
def test_a_surplus_file_is_named(name: str, bundle: Bundle) -> None:
    (bundle.path / name).parent.mkdir(exist_ok=True)
    (bundle.path / name).write_text("?", encoding="utf-8")
    assert f"surplus: {name}" in bundle.verify()


def test_several_problems_are_all_named(bundle: Bundle) -> None:
    (bundle.path / "bin/tool").unlink()
    writable(bundle.path / "cni/ptp").write_text("ptp 9.9.9", encoding="utf-8")
    (bundle.path / "x").touch()
    assert bundle.verify() == ["missing: bin/tool", "wrong checksum: cni/ptp", "surplus: x"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"path": "bin/tool"', '"path": "bin/tool2"'),
        ("labctl.bundle/v1", "labctl.bundle/v2"),
        ('"source": "build"', '"source": "build", "surprise": 1'),
        ('"size"', '"sise"'),
        ("{", ""),
    ],
)
def test_a_manifest_that_was_edited_is_no_manifest(old: str, new: str, bundle: Bundle) -> None:
    manifest = bundle.path / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(StateError, match="is no bundle"):
        open_bundle(bundle.path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is no bundle"):
        open_bundle(tmp_path)


def test_the_key_is_that_of_the_contents(bundle: Bundle) -> None:
    first, *rest = bundle.manifest.programs
    other = bundle.manifest.model_copy(update={"programs": [first.model_copy(update={"sha256": "0" * 64}), *rest]})
    assert other.key != bundle.key
    assert bundle.manifest.model_copy(update={"go": "go1.99.1"}).key == bundle.key
