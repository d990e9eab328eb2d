"""A split from marks, each part written out."""

import numpy as np
import pandas as pd
import pytest

from recsweep.data.held_out_parts import Parts
from recsweep.data.interactions import Interactions

MARKED = {
    "u": "a train b valid c test",
    "v": "a train d valid b test",
    "w": "d valid a test",
    "x": "b train a valid",
}
ROWS = [
    (user, item, part)
    for user, words in MARKED.items()
    for item, part in zip(words.split()[::2], words.split()[1::2], strict=True)
]


@pytest.fixture
def data() -> Interactions:
    return Interactions.from_table(
        pd.DataFrame(ROWS, columns=["user", "item", "part"]).assign(value=1)
    )


@pytest.fixture
def parts() -> Parts:
    return Parts(
        **{
            name: np.array([part == name for *_, part in ROWS])
            for name in ("train", "valid", "test")
        }
    )


def test_items_of_validation_get_columns_only_if_asked_for(data: Interactions, parts: Parts):
    assert parts.split(data, "count").item_ids.tolist() == ["a", "b"]
    wider = parts.split(data, "count", valid_items=True)
    assert wider.item_ids.tolist() == ["a", "b", "d"]
    assert wider.valid.target.toarray().tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert wider.test.n_unknown.tolist() == [1, 0, 0], "c of u has no column"


def test_a_user_without_a_history_is_in_no_fold(data: Interactions, parts: Parts):
    split = parts.split(data, "count")
    assert split.train_user_ids.tolist() == ["u", "v", "x"]
    assert split.valid.user_ids.tolist() == ["u", "v", "x"]
    assert split.test.user_ids.tolist() == ["u", "v"], "w has only d, which has no column"
    wider = parts.split(data, "count", valid_items=True)
    assert wider.test.user_ids.tolist() == ["u", "v", "w"], "validation shows d of w"
    assert wider.test.history.toarray().tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 1]]


def test_dropped_items_leave_users_without_a_target(data: Interactions, parts: Parts):
    split = parts.split(data, "drop")
    assert split.valid.user_ids.tolist() == ["u", "x"], "d of v is unknown"
    assert split.test.user_ids.tolist() == ["v"], "c of u is unknown"
    assert split.test.n_unknown is None
