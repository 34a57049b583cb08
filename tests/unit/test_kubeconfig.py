from pathlib import Path

import pytest
import yaml

from labctl import kubeconfig
from labctl.errors import StateError, UsageError

LAB = {
    "clusters": [{"name": "lab", "cluster": {"server": "https://10.0.0.1:6443"}}],
    "users": [{"name": "kubernetes-admin", "user": {"client-key-data": "x"}}],
    "contexts": [{"name": "c", "context": {"cluster": "lab", "user": "kubernetes-admin"}}],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "lab-kubeconfig"
    path.write_text(yaml.safe_dump(LAB))
    return path


def test_a_new_file_is_for_its_owner_alone(source: Path, tmp_path: Path) -> None:
    target = tmp_path / ".kube" / "config"
    assert kubeconfig.merge(source, target, "lab") == "labctl-lab"
    assert target.stat().st_mode & 0o777 == 0o600
    merged = yaml.safe_load(target.read_text())
    assert merged["current-context"] == "labctl-lab"
    assert merged["contexts"] == [{"name": "labctl-lab", "context": {"cluster": "labctl-lab", "user": "labctl-lab"}}]


def test_other_clusters_stay_and_a_second_merge_replaces(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump({"clusters": [{"name": "prod", "cluster": {"server": "p"}}], "extra": 1}))
    target.chmod(0o640)
    kubeconfig.merge(source, target, "lab")
    kubeconfig.merge(source, target, "lab")
    merged = yaml.safe_load(target.read_text())
    assert [item["name"] for item in merged["clusters"]] == ["prod", "labctl-lab"]
    assert merged["extra"] == 1
    assert target.stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "config.lock").exists()


def test_a_lock_of_another_program_is_respected(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_LOCK_PATIENCE_S", 0)
    target = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(StateError, match=r"config\.lock"):
        kubeconfig.merge(source, target, "lab")
    assert not target.exists()


def test_a_file_that_is_no_kubeconfig_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "config"
    target.write_text("just a line")
    with pytest.raises(UsageError, match="is no kubeconfig"):
        kubeconfig.merge(source, target, "lab")
    assert target.read_text() == "just a line"
