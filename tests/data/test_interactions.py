"""From rows to a matrix of clicks, on tables small enough to see."""

import numpy as np
import pandas as pd
import pytest

from recsweep.data.interactions import Interactions, parse_ids, quote


def table_of(*rows: tuple[object, object, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "value"])


def rows_of(data: Interactions) -> list[tuple[object, object, float]]:
    """User, item and value of each entry in the order that they are stored in."""
    users = np.repeat(np.arange(len(data.user_ids)), np.diff(data.matrix.indptr))
    entries = zip(users, data.matrix.indices, data.matrix.data, strict=True)
    return [(data.user_ids[u], data.item_ids[i], float(v)) for u, i, v in entries]


# --- ids ----------------------------------------------------------------------------------------


def test_whole_numbers_sort_as_numbers_and_text_as_text():
    data = Interactions.from_table(table_of(("10", "b", 1), ("9", "a", 1), ("-1", "B", 1)))
    assert data.user_ids.tolist() == [-1, 9, 10]
    assert data.item_ids.tolist() == ["B", "a", "b"]


@pytest.mark.parametrize(
    "ids",
    [
        ["12346.5", "12347.0.0"],
        ["007", "7"],
        ["1", "2", "None"],
        ["+1", "1"],
        ["-0", "0"],
        ["1 1", "11"],
        ["1e3", "1000"],
        ["١٢", "12"],
        [str(10**18), "1"],  # one digit more than is sure to fit
    ],
)
def test_ids_that_are_not_plain_whole_numbers_survive_unchanged(ids: list[str]):
    data = Interactions.from_table(table_of(*((each, each, 1) for each in ids)))
    assert set(data.user_ids) == set(data.item_ids) == set(ids)


def test_numbers_and_their_text_are_one_id():
    data = Interactions.from_table(table_of((1, "x", 1), ("1", "y", 1), (2, "x", 1)))
    assert data.user_ids.tolist() == [1, 2]
    assert np.diff(data.matrix.indptr).tolist() == [2, 1]


def test_white_space_and_an_empty_fraction_are_no_part_of_an_id():
    data = Interactions.from_table(table_of((" u", 10.0, 1), ("u ", 11.0, 1), ("v", "12.0", 1)))
    assert data.user_ids.tolist() == ["u", "v"]
    assert data.item_ids.tolist() == [10, 11, 12]
    assert np.diff(data.matrix.indptr).tolist() == [2, 1]


def test_pairs_that_the_rule_makes_one_are_refused_as_any_other(refused):
    with refused("1 occur more than once", "first: user 'u', item 10"):
        Interactions.from_table(table_of(("u", "10", 1), ("u ", "10.0", 1)))


def test_ids_of_many_digits_are_told_apart():
    big = 10**17 + 1
    assert parse_ids([str(big), str(big + 1)]).tolist() == [big, big + 1]


def test_categories_that_no_row_has_are_no_users():
    table = table_of((2, 1, 1))
    table["user"] = pd.Categorical([2], categories=[1, 2, 3])
    assert Interactions.from_table(table).user_ids.tolist() == [2]


def test_a_row_without_an_id_is_refused(refused):
    with refused("every row must have a item id", "row 2"):
        Interactions.from_table(table_of(("u", "i", 1), ("u", None, 1)))


# --- rows ---------------------------------------------------------------------------------------


def test_users_ascend_and_their_items_keep_the_order_of_the_source():
    data = Interactions.from_table(
        table_of((2, 30, 5), (1, 20, 4), (2, 10, 3), (1, 30, 2), (2, 20, 1))
    )
    assert rows_of(data) == [(1, 20, 4), (1, 30, 2), (2, 30, 5), (2, 10, 3), (2, 20, 1)]


def test_a_repeated_pair_is_refused_and_named(refused):
    table = table_of(("u", "i", 1), ("u", "j", 1), ("u", "i", 2), ("v\n", "i", 1), ("v\n", "i", 1))
    with refused("2 occur more than once", "first: user 'u', item 'i'", "data.duplicates="):
        Interactions.from_table(table)


def test_the_fingerprint_follows_ids_order_and_values():
    first = Interactions.from_table(table_of((1, 1, 1), (1, 2, 1)))
    same = Interactions.from_table(table_of(("1", "1", 1.0), ("1", "2", 1.0)))
    others = [
        table_of((1, 1, 1), (1, 2, 2)),
        table_of((1, 2, 1), (1, 1, 1)),
        table_of((3, 1, 1), (3, 2, 1)),
        table_of((1, 1, 1), (1, 3, 1)),
    ]
    assert first.fingerprint == same.fingerprint
    assert first.fingerprint not in {Interactions.from_table(t).fingerprint for t in others}


# --- filters ------------------------------------------------------------------------------------


def test_clicks_are_values_from_the_threshold_on():
    data = Interactions.from_table(table_of((1, 1, 3.4), (1, 2, 3.5), (2, 2, 5), (2, 3, 0)))
    assert rows_of(data.filter(3.5, 1)) == [(1, 2, 3.5), (2, 2, 5)]
    assert rows_of(data.filter(None, 1)) == [(1, 1, np.float32(3.4)), (1, 2, 3.5), (2, 2, 5)]


def test_users_need_enough_clicks_and_items_need_one():
    data = Interactions.from_table(
        table_of((1, 7, 5), (1, 6, 5), (1, 5, 1), (2, 4, 5), (2, 6, 2), (3, 6, 5), (3, 4, 5))
    )
    left = data.filter(4.0, 2)  # user 2 has one click; item 5 had none, item 4 keeps user 3's
    assert rows_of(left) == [(1, 7, 5), (1, 6, 5), (3, 6, 5), (3, 4, 5)]
    assert left.item_ids.tolist() == [4, 6, 7]


def test_a_threshold_that_float32_cannot_hold_still_counts_its_own_value():
    data = Interactions.from_table(table_of((1, 1, 4.1)))  # 4.1 as float32 is below 4.1
    assert rows_of(data.filter(4.1, 1)) == [(1, 1, np.float32(4.1))]


@pytest.mark.parametrize("values", [(16777216, 16777217), (4.0999999999, 4.1), (5, 5 + 1e-9)])
def test_a_value_below_the_threshold_is_no_click_though_float32_makes_them_one(
    values: tuple[float, float],
):
    data = Interactions.from_table(table_of((1, 1, values[0]), (1, 2, values[1])))
    left = data.filter(values[1], 1)
    assert rows_of(left) == [(1, 2, np.float32(values[1]))]
    assert left.matrix.dtype == np.float32


def test_filters_leave_their_input_as_it_was():
    data = Interactions.from_table(table_of((1, 1, 3), (1, 2, 5)))
    before = data.fingerprint
    data.filter(4.0, 1)
    assert Interactions(data.matrix, data.user_ids, data.item_ids).fingerprint == before


def test_when_nothing_is_left_the_found_values_are_shown(refused):
    data = Interactions.from_table(table_of((1, 1, 0.5), (1, 2, 5), (2, 1, 0)))
    with refused("2 interactions", "of at least 4", "none of 2 has", "from 0 to 5", "min_rating"):
        data.filter(4.0, 2)
    with refused("3 interactions with a value above 0", "data.min_user_interactions"):
        data.filter(None, 3)


# --- times --------------------------------------------------------------------------------------


def test_each_interaction_keeps_its_time_and_the_fingerprint_ignores_it():
    rows = [(2, 30, 5, 70), (1, 20, 4, 71), (2, 10, 3, 72), (1, 30, 2, 73), (3, 20, 5, 74)]
    table = pd.DataFrame(rows, columns=["user", "item", "value", "timestamp"])
    data = Interactions.from_table(table)
    assert data.times.tolist() == [71, 73, 70, 72, 74]
    assert data.filter(3.0, 1).times.tolist() == [71, 70, 72, 74]
    assert data.filter(3.0, 2).times.tolist() == [70, 72]
    without = Interactions.from_table(table.drop(columns="timestamp"))
    assert without.times is None
    assert without.filter(3.0, 2).times is None
    assert without.fingerprint == data.fingerprint


# --- messages -----------------------------------------------------------------------------------


def test_what_a_message_quotes_is_short_and_on_one_line():
    assert quote("a\nb") == "'a\\nb'"
    assert quote(np.int64(7)) == "7"
    assert quote("x" * 1_000_000).endswith("… (1,000,002 characters)")
    assert len(quote("x" * 1_000_000)) < 120
