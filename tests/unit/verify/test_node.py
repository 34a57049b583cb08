"""What a machine's files say, and what is said of those that cannot be read."""

from __future__ import annotations

from typing import Any, cast

import pytest
from testinfra.backend.base import CommandResult

from labctl.verify.node import Node
from labctl.verify.programs import Programs, UnreadableError

KUBELET, CONTAINERD = "/var/lib/kubelet/config.yaml", "/etc/containerd/config.toml"


class Machine(Node):
    """Answers with the texts of its files."""

    files: dict[str, str]

    def run(self, command: str, *words: str) -> CommandResult:
        path = (command % words if words else command).partition("cat ")[2]
        text = self.files.get(path)
        if text is None:
            return CommandResult(cast("Any", None), 1, b"", "", f"cat: {path}: No such file or directory\n")
        return CommandResult(cast("Any", None), 0, b"", text, "")


def machine(**files: str) -> Machine:
    found = Machine(cast("Any", None))
    found.files = {KUBELET: files.get("kubelet", ""), CONTAINERD: files.get("containerd", "")}
    return found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2\n::: what\n\tno\n", "line 4: found character '\\t' that cannot start any token"),
        ("a: b: c\n", "line 1: mapping values are not allowed here"),
        ("just words\n", "it holds no settings"),
        ("", "it is empty"),
        ("a: \x00\n", "unacceptable character"),
    ],
)
def test_a_kubelets_configuration_that_cannot_be_read_is_named(text: str, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        assert machine(kubelet=text).kubelet
    assert str(caught.value).startswith(f"{KUBELET} cannot be read: {why}")
    assert caught.value.path == KUBELET
    if text:
        programs = Programs(machine(kubelet=text).run)
        with pytest.raises(UnreadableError, match=KUBELET):
            programs.document(KUBELET)


@pytest.mark.parametrize(("text", "why"), [("a = \n", "Invalid value (at line 1, column 5)"), ("a = 1", "no plugins")])
def test_containerds_configuration_that_cannot_be_read_is_named(text: str, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        assert machine(containerd=text).containerd
    assert str(caught.value).startswith(f"{CONTAINERD} cannot be read: ")
    assert why in str(caught.value)


def test_a_setting_that_is_not_there_is_told_with_its_file() -> None:
    one = machine(kubelet="kind: X\n", containerd="[plugins.a]\n")
    with pytest.raises(UnreadableError, match=f"{KUBELET} cannot be read: it has no staticPodPath"):
        assert one.manifests
    with pytest.raises(UnreadableError, match=f"{CONTAINERD} cannot be read: it has no io.containerd.cri"):
        assert one.cni


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UnreadableError, match=r"/etc/nothing cannot be read: cat: .*No such file"):
        Programs(machine().run).document("etc/nothing")


def test_garbage_among_static_pods_hides_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine(kubelet="staticPodPath: /manifests\n")
    printed = "=== bad.yaml\n{{{\n=== etcd.yaml\nkind: Pod\n=== list.yaml\n- a\n"
    monkeypatch.setattr(one, "output", lambda *_: printed)
    assert one.manifests == {"bad.yaml": {}, "etcd.yaml": {"kind": "Pod"}, "list.yaml": {}}
