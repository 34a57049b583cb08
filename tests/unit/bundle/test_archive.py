from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from labctl import paths
from labctl.bundle import Bundle, archive, ensure, find, import_file, pack, source
from labctl.bundle.recipe import Recipe
from labctl.config_bundle import BundleSource
from labctl.errors import StateError, UsageError
from labctl.events import Event


@pytest.fixture
def file(bundle: Bundle, tmp_path: Path) -> Path:
    return pack(bundle, tmp_path / "lab.tar.zst", lambda event: None)


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine: nothing cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))


def members(file: Path) -> dict[str, bytes]:
    plain = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]


def rewrite(file: Path, contents: dict[str, bytes]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    file.write_bytes(zstandard.ZstdCompressor().compress(out.getvalue()))


def test_there_and_back(
    bundle: Bundle, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    elsewhere(tmp_path, monkeypatch)
    made = import_file(file, events.append)
    assert made.path == paths.bundles() / bundle.path.name
    assert made.manifest == bundle.manifest
    assert made.verify() == []
    assert made.program("tool").stat().st_mode & 0o111
    assert list(paths.bundles().glob(".*")) == []


def test_the_same_bundle_gives_the_same_file(bundle: Bundle, file: Path, tmp_path: Path) -> None:
    again = pack(bundle, tmp_path / "again.tar.zst", lambda event: None)
    assert again.read_bytes() == file.read_bytes()
    assert next(iter(members(file))) == "manifest.json"


def test_a_damaged_bundle_is_not_exported(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.path / "images/proxy.tar").write_bytes(b"x")
    with pytest.raises(StateError, match=r"images/proxy\.tar"):
        pack(bundle, tmp_path / "lab.tar.zst", lambda event: None)
    assert list(tmp_path.glob("*lab.tar.zst*")) == []


def test_an_export_that_is_cut_off_leaves_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "_add", die)
    with pytest.raises(KeyboardInterrupt):
        pack(bundle, tmp_path / "lab.tar.zst", lambda event: None)
    assert list(tmp_path.glob("*lab.tar.zst*")) == []


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_a_torn_file_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(cut if cut >= 1 else cut * len(content))])
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StateError, match=r"lab\.tar\.zst is no bundle, or a damaged one"):
        import_file(file, lambda event: None)
    assert list(paths.bundles().glob("*")) == []


def test_a_flipped_bit_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StateError, match="damaged"):
        import_file(file, lambda event: None)


@pytest.mark.parametrize("name", ["bin/tool", "licences/example.org/tools@v1.2.3/LICENSE"])
def test_another_file_inside_is_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    contents = members(file)
    rewrite(file, contents | {name: bytes(len(contents[name]))})
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StateError, match=f"wrong checksum: {name}"):
        import_file(file, lambda event: None)


@pytest.mark.parametrize("name", ["../escaped", "bin/surplus", "licences/surplus"])
def test_what_the_manifest_does_not_know_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rewrite(file, members(file) | {name: b"x"})
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StateError, match="damaged one"):
        import_file(file, lambda event: None)
    assert not (paths.bundles() / "escaped").exists()
    assert not (paths.bundles().parent / "escaped").exists()


def test_a_manifest_cannot_choose_its_folder(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = members(file)
    text = contents["manifest.json"].replace(file_recipe(contents), b"../../../escape0")
    rewrite(file, contents | {"manifest.json": text})
    elsewhere(tmp_path, monkeypatch)
    with pytest.raises(StateError, match="damaged one"):
        import_file(file, lambda event: None)


def file_recipe(contents: dict[str, bytes]) -> bytes:
    return contents["manifest.json"].split(b'"recipe": "')[1].split(b'"')[0]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        import_file(tmp_path / "none", lambda event: None)
    other = tmp_path / "text"
    other.write_text("hello")
    with pytest.raises(StateError, match="no bundle"):
        import_file(other, lambda event: None)


def test_a_lab_from_a_file(
    bundle: Bundle, file: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    """The air-gapped case: nothing but the file is asked."""
    monkeypatch.setattr("labctl.bundle.rules.RULES", ())
    elsewhere(tmp_path, monkeypatch)
    wanted = BundleSource(source="file", file=str(file))
    assert find("9.9.9", wanted, "amd64") is None
    made = ensure("9.9.9", events.append, wanted, arch="amd64")
    assert made.key == bundle.key
    events.clear()
    assert find("9.9.9", wanted, "amd64") == ensure("9.9.9", events.append, wanted, arch="amd64") == made
    assert events == []
    with pytest.raises(UsageError, match=r"holds Kubernetes 9\.9\.9, not 1\.37\.2"):
        ensure("1.37.2", events.append, wanted, arch="amd64")
    with pytest.raises(UsageError, match="is for amd64 machines, not for arm64"):
        ensure("9.9.9", events.append, wanted, arch="arm64")


def test_a_file_of_a_version_that_labctl_does_not_know_is_refused_with_the_rule(file: Path) -> None:
    with pytest.raises(UsageError, match=r"kubernetes 9\.9\.9 cannot be used: it must be 1\.35 or newer"):
        source.find("9.9.9", BundleSource(source="file", file=str(file)), "amd64")
