import pytest

from labctl import state
from labctl.config import LabConfig
from labctl.errors import UsageError


def record(**fields: object) -> state.LabRecord:
    return state.LabRecord(created="now", config=LabConfig.model_validate(fields), bundle="/b")


def test_a_new_lab_a_same_lab_and_more_workers_are_fine() -> None:
    state.refuse_other_lab(None, LabConfig())
    state.refuse_other_lab(record(), LabConfig())
    state.refuse_other_lab(record(workers=1), LabConfig(workers=3))


def test_what_may_change_on_a_lab_that_exists() -> None:
    after = {
        "workers": 3,
        "node": {"labels": {"a": "1"}, "taints": ["a:NoSchedule"]},
        "nodes": {"worker-3": {"memory": "1Gi", "ports": [{"host": 8080, "machine": 80}]}},
        "images": ["localhost/app:1"],
        "registry_mirrors": {"docker.io": ["http://mirror.example"]},
    }
    state.refuse_other_lab(record(), LabConfig.model_validate(after))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"workers": 3}, {"workers": 1}, "workers is 3, asked for 1"),
        ({"workers": 0}, {"workers": 1}, "workers is 0, asked for 1"),
        ({}, {"control_planes": 3}, "control_planes is 1, asked for 3"),
        ({"timing": "drill"}, {}, "timing is drill, asked for default"),
        ({}, {"node": {"memory": "1Gi"}}, "memory of cp-1 is None, asked for 1Gi"),
        ({"nodes": {"worker-2": {"cpus": 1}}}, {"node": {"cpus": 1}}, "cpus of worker-1 is None, asked for 1"),
        ({}, {"nodes": {"cp-1": {"ports": [{"host": 8080, "machine": 80}]}}}, "ports of cp-1 is"),
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(
    before: dict[str, object], after: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        state.refuse_other_lab(record(**before), LabConfig.model_validate(after))
