import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import LabError
from labctl.kube import ApiError
from labctl.kube.marks import ANNOTATION, Marks, patch, settle

names = st.sampled_from(["a", "b", "c", "example.org/d"])
effects = st.sampled_from(["NoSchedule", "NoExecute"])
taints = st.dictionaries(st.tuples(names, effects), st.sampled_from(["", "1", "2"])).map(
    lambda made: [
        {"key": key, "effect": effect, **({"value": value} if value else {})} for (key, effect), value in made.items()
    ]
)
marks = st.builds(Marks, st.dictionaries(names, st.sampled_from(["1", "2"])), taints)

NOTED_BY_KUBERNETES = {
    "key": "node.kubernetes.io/unreachable",
    "effect": "NoExecute",
    "timeAdded": "2026-01-01T00:00:00Z",
}


def _node() -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "resourceVersion": "1", "labels": {"kubernetes.io/os": "linux"}},
        "spec": {"taints": [NOTED_BY_KUBERNETES]},
    }


def _apply(node: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """What the API server does with a merge patch."""
    after: dict[str, Any] = json.loads(json.dumps(node))
    for kind in ("labels", "annotations"):
        old = after["metadata"].setdefault(kind, {})
        for key, value in change["metadata"][kind].items():
            if value is None:
                old.pop(key, None)
            else:
                old[key] = value
    after["spec"]["taints"] = change["spec"]["taints"]
    return after


def _settled(node: dict[str, Any], wanted: Marks) -> dict[str, Any]:
    change = patch(node, wanted)
    return node if change is None else _apply(node, change)


@given(st.lists(marks, min_size=1, max_size=4))
def test_whatever_was_wanted_before_the_last_wish_holds_and_others_marks_stay(wishes: list[Marks]) -> None:
    node = _node()
    for wanted in wishes:
        node = _settled(node, wanted)
        assert patch(node, wanted) is None, "a second time there is nothing to do"
    last = wishes[-1]
    assert node["metadata"]["labels"] == {"kubernetes.io/os": "linux", **last.labels}
    key = lambda taint: (taint["key"], taint["effect"])  # noqa: E731
    assert sorted(node["spec"]["taints"], key=key) == sorted([NOTED_BY_KUBERNETES, *last.taints], key=key)


def test_a_node_without_wishes_is_left_alone() -> None:
    assert patch(_node(), Marks({}, [])) is None


def test_a_taint_that_kubeadm_has_set_already_is_only_noted() -> None:
    node = _node()
    taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    node["spec"]["taints"].append(taint)
    change = patch(node, Marks({}, [taint]))
    assert change is not None, "or it could not be taken away later"
    assert change["metadata"]["annotations"][ANNOTATION]
    assert _settled(_apply(node, change), Marks({}, []))["spec"]["taints"] == [NOTED_BY_KUBERNETES]


def test_a_patch_is_for_the_version_that_was_seen() -> None:
    change = patch(_node(), Marks({"a": "1"}, []))
    assert change is not None
    assert change["metadata"]["resourceVersion"] == "1"


class Server:
    """An API server whose node is changed by another each time but the last."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.node = _node()
        self.lab = "two"

    def get(self, _path: str) -> dict[str, Any]:
        return self.node

    def request(self, _method: str, _path: str, *, body: dict[str, Any], content_type: str) -> None:
        assert content_type == "application/merge-patch+json"
        if self.conflicts:
            self.conflicts -= 1
            raise ApiError("the object has been modified", 409)
        self.node = _apply(self.node, body)


def test_a_node_that_changes_meanwhile_is_looked_at_again() -> None:
    server: Any = Server(conflicts=3)
    assert settle(server, "n", Marks({"a": "1"}, []))
    assert server.node["metadata"]["labels"]["a"] == "1"
    assert not settle(server, "n", Marks({"a": "1"}, []))
    with pytest.raises(LabError, match="changed 20 times"):
        settle(cast("Any", Server(conflicts=99)), "n", Marks({"a": "1"}, []))
