"""Numbers that were not made alike are not set beside each other."""

import pytest

from ganlab.errors import Refused
from ganlab.metrics.protocols import differences, refuse_unlike

RECORD = {"value": 17.0, "step": 3000, "floor": 7.1, "beside": {"width": 1}, "split": "train", "n_fake": 1000}


def test_what_was_found_is_no_difference_and_how_it_was_made_is() -> None:
    other = RECORD | {"value": 3.0, "step": 5, "floor": 9.0, "beside": {}}
    assert differences(RECORD, other) == {}
    assert differences(RECORD, other | {"n_fake": 5000}) == {"n_fake": (1000, 5000)}
    assert differences(RECORD, {"split": "train"}) == {"n_fake": (1000, None)}
    assert differences({"split": "train"}, RECORD) == {"n_fake": (None, 1000)}


def test_the_refusal_names_whose_numbers_and_what_differs() -> None:
    records = {"one": RECORD, "two": RECORD | {"step": 1}, "three": RECORD | {"split": "test"}}
    with pytest.raises(
        Refused, match="^fid of one and of three do not compare: split is train and test; measure both alike$"
    ):
        refuse_unlike("fid", records)
    refuse_unlike("fid", {name: records[name] for name in ("one", "two")})
