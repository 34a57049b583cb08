import pytest

from labctl import bootstrap, state
from labctl.config import LabConfig
from labctl.errors import UsageError


def record(**fields: object) -> state.LabRecord:
    return state.LabRecord(created="now", config=LabConfig.model_validate(fields), bundle="/b")


def test_a_new_lab_a_same_lab_and_more_workers_are_fine() -> None:
    bootstrap.refuse_other_lab(None, LabConfig())
    bootstrap.refuse_other_lab(record(), LabConfig())
    bootstrap.refuse_other_lab(record(workers=1), LabConfig(workers=3))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"workers": 3}, {"workers": 1}, "workers is 3, asked for 1"),
        ({"workers": 0}, {"workers": 1}, "workers is 0, asked for 1"),
        ({}, {"control_planes": 3}, "control_planes is 1, asked for 3"),
        ({"timing": "drill"}, {}, "timing is drill, asked for default"),
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(
    before: dict[str, object], after: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        bootstrap.refuse_other_lab(record(**before), LabConfig.model_validate(after))
