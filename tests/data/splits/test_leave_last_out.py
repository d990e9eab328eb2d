"""The last two interactions of each user, on a table that is worked out on the page."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.data.splits.leave_last_out import LeaveLastOut

DRAWN = {1: "a2 b5 d7 e9", 2: "b3 c1 e6", 3: "a4 c9 d2 e5", 4: "a8 e7"}
"""The interactions of the docstring: items and times of each user."""


def leave_last_out(unknown_items: str = "drop", valid_items: bool = False) -> LeaveLastOut:
    return LeaveLastOut(unknown_items=unknown_items, valid_items=valid_items)


def data_of(rows: dict[int, str]) -> Interactions:
    table = [
        (user, entry[0], 1.0, int(entry[1:]))
        for user, entries in rows.items()
        for entry in entries.split()
    ]
    return Interactions.from_table(
        pd.DataFrame(table, columns=["user", "item", "value", "timestamp"])
    )


def parts_of(split: Split) -> list[dict[int, str]]:
    """Train, then history and target of validation and of test: user -> items, ascending."""
    valid, test = split.valid, split.test
    ids = (split.train_user_ids, *2 * [valid.user_ids], *2 * [test.user_ids])
    return [
        {
            int(user): "".join(sorted(split.item_ids[matrix[row].indices]))
            for row, user in enumerate(user_ids)
        }
        for matrix, user_ids in zip(split.matrices, ids, strict=True)
    ]


def test_the_docstrings_table_is_split_as_drawn():
    train, valid_history, valid, test_history, test = parts_of(
        leave_last_out().split(data_of(DRAWN))
    )
    assert train == {1: "ab", 2: "c", 3: "ad", 4: "ae"}
    assert valid_history == {1: "ab", 2: "c", 3: "ad"}
    assert valid == {1: "d", 2: "b", 3: "e"}
    assert test_history == {1: "abd", 2: "bc", 3: "ade"}
    assert test == {1: "e", 2: "e", 3: "c"}


def test_of_interactions_with_one_time_the_later_in_the_source_is_the_last():
    rows = dict.fromkeys((1, 2), "e7 c7 a7 b7 d1") | {9: "a1 b1 c1 d1 e1 f2 g3"}
    *_, valid, _, test = parts_of(leave_last_out().split(data_of(rows)))
    assert valid == {1: "a", 2: "a"}  # f and g of 9 are nobody else's
    assert test == {1: "b", 2: "b"}


def test_users_and_the_order_of_the_file_have_nothing_to_do_with_it():
    rows = [(3, "a", 30), (1, "b", 9), (3, "b", 10), (1, "a", 8), (3, "c", 20), (1, "c", 7)]
    table = pd.DataFrame(
        [(user, item, 1.0, at) for user, item, at in [*rows, (7, "a", 1), (7, "b", 2)]],
        columns=["user", "item", "value", "timestamp"],
    )
    for seed in range(3):
        data = Interactions.from_table(table.sample(frac=1, random_state=seed))
        train, _, valid, _, test = parts_of(leave_last_out().split(data))
        assert train == {1: "c", 3: "b", 7: "ab"}
        assert valid == {1: "a", 3: "c"}
        assert test == {1: "b", 3: "a"}


def test_each_user_of_three_gives_one_and_one_and_nothing_is_lost():
    random = np.random.default_rng(5)
    table = pd.DataFrame(
        [
            (user, int(item), 1.0, int(random.integers(0, 50)))
            for user in range(300)
            for item in random.permutation(40)[: random.integers(1, 9)]
        ],
        columns=["user", "item", "value", "timestamp"],
    )
    split = leave_last_out(unknown_items="count").split(Interactions.from_table(table))
    lengths = table.groupby("user").size()
    long = lengths.index[lengths >= 3]
    last = table.groupby("user")["timestamp"].max()
    at = table.set_index(["user", "item"])["timestamp"]
    for fold in (split.valid, split.test):
        assert fold.user_ids.tolist() == long.tolist()
        assert (fold.n_relevant == 1).all()
    assert len(split.train_user_ids) == 300
    assert split.train.nnz == len(table) - 2 * len(long)
    for row, user in enumerate(split.test.user_ids):
        items = split.item_ids[split.test.target[row].indices]
        assert [at[user, item] for item in items] in ([], [last[user]])
        seen = split.item_ids[split.test.history[row].indices]
        assert len(seen) == lengths[user] - 1
        assert not set(seen) & set(items)


@pytest.mark.parametrize("unknown_items", ["drop", "count"])
def test_items_that_training_does_not_know_are_dropped_or_count(unknown_items: str):
    data = data_of({1: "a1 b2 c3 y4", 2: "a1 b2 z3 c4", 3: "a1 b2 c3", 4: "a1 c2"})
    split = leave_last_out(unknown_items).split(data)
    wider = leave_last_out(unknown_items, valid_items=True).split(data)
    assert split.item_ids.tolist() == list("abc")
    assert wider.item_ids.tolist() == list("abcz"), "a refit learns what only validation has"
    *_, valid, _, test = parts_of(split)
    if unknown_items == "drop":
        assert valid == {1: "c", 3: "b"}
        assert test == {2: "c", 3: "c"}
    else:
        assert valid == {1: "c", 2: "", 3: "b"}
        assert split.test.n_relevant.tolist() == [1, 1, 1]


# --- what is refused ------------------------------------------------------------------------------


def test_data_without_times_are_refused(refused):
    table = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "value": 1.0})
    with refused("split=leave_last_out needs the time", "data.timestamp_column=COLUMN"):
        leave_last_out().split(Interactions.from_table(table))


def test_users_with_fewer_than_three_are_refused_when_they_are_all(refused):
    with refused("needs a user with 3 interactions", "at most 2"):
        leave_last_out().split(data_of({1: "a1 b2", 2: "a2"}))


def test_data_that_comes_split_is_refused(refused):
    with refused("already split", "use split=presplit"):
        leave_last_out().split(leave_last_out().split(data_of(DRAWN)))


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(ValidationError, match="'drop' or 'count'"):
        leave_last_out("keep")
