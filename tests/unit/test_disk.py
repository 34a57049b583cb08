from pathlib import Path

import pytest

from labctl.providers import disk

BLOB = "lib/containerd/io.containerd.content.v1.content/blobs/sha256/aa"
SNAPSHOT = "lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/usr/bin/etcd"
DATABASE = "lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
LOG = "log/messages"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    folder = tmp_path / "golden"
    for name in (BLOB, SNAPSHOT, DATABASE, LOG):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "run").symlink_to("/run")
    (folder / "log").chmod(0o2775)
    (folder / SNAPSHOT).chmod(0o4755)
    return folder


def test_what_never_changes_is_shared_and_all_else_is_copied(golden: Path, tmp_path: Path) -> None:
    node = tmp_path / "labs" / "node" / "var"
    disk.clone(golden, node)
    for name in (BLOB, SNAPSHOT):
        assert (node / name).samefile(golden / name)
    for name in (DATABASE, LOG):
        assert not (node / name).samefile(golden / name)
        assert (node / name).read_text() == name
    assert (node / "run").is_symlink()
    assert (node / "log").stat().st_mode & 0o7777 == 0o2775
    assert (node / SNAPSHOT).stat().st_mode & 0o7777 == 0o4755


def test_a_clone_that_was_cut_off_is_made_anew(golden: Path, tmp_path: Path) -> None:
    node = tmp_path / "var"
    (tmp_path / "var.unfinished").mkdir()
    (tmp_path / "var.unfinished" / "half").touch()
    disk.clone(golden, node)
    assert not (node / "half").exists()
    assert not (tmp_path / "var.unfinished").exists()


def test_an_existing_disk_is_left_alone(golden: Path, tmp_path: Path) -> None:
    node = tmp_path / "var"
    node.mkdir()
    (node / "mine").touch()
    disk.clone(golden, node)
    assert [path.name for path in node.iterdir()] == ["mine"]


def test_a_discarded_disk_leaves_nothing_half_done_under_its_name(golden: Path, tmp_path: Path) -> None:
    node = tmp_path / "labs" / "node" / "var"
    disk.clone(golden, node)
    (node.parent / "var.unfinished" / "half").mkdir(parents=True)
    disk.discard(node)
    disk.discard(node)
    assert list(node.parent.iterdir()) == []
    assert (golden / BLOB).exists(), "what is shared stays with the others"
