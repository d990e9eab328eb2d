"""One point in time for all users, on a table that is worked out on the page."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.data.splits.temporal import Temporal

DRAWN = {1: "a2 b5 d7 e9", 2: "b3 c1 e6", 3: "a4 c9 d2 e5", 4: "a8 b7 d6"}
"""The interactions of the docstring: items and times of each user."""


def temporal(**changes: object) -> Temporal:
    settings = {
        "valid_fraction": 0.1, "test_fraction": 0.1, "valid_from": None, "test_from": None,
        "window": 0, "unknown_items": "drop",
    }  # fmt: skip
    return Temporal(**settings | changes)


def data_of(rows: dict[int, str], to_time: Callable[[int], float] = float) -> Interactions:
    table = [
        (user, entry[0], 1.0, to_time(int(entry[1:])))
        for user, entries in rows.items()
        for entry in entries.split()
    ]
    return Interactions.from_table(
        pd.DataFrame(table, columns=["user", "item", "value", "timestamp"])
    )


def rows_of(matrix, user_ids: np.ndarray, split: Split) -> dict[int, str]:
    """User -> items in ascending order."""
    return {
        int(user): "".join(sorted(split.item_ids[matrix[row].indices]))
        for row, user in enumerate(user_ids)
    }


def parts_of(split: Split) -> list[dict[int, str]]:
    """Train, then history and target of validation and of test."""
    valid, test = split.valid, split.test
    ids = (split.train_user_ids, *2 * [valid.user_ids], *2 * [test.user_ids])
    return [rows_of(*each, split) for each in zip(split.matrices, ids, strict=True)]


@pytest.fixture
def at_random() -> tuple[Interactions, np.ndarray]:
    """200 users with 3 to 20 of 60 items, at times from 0 to 299 with many ties."""
    random = np.random.default_rng(14)
    rows = [
        (user, int(item), 1.0)
        for user in range(200)
        for item in random.permutation(60)[: random.integers(3, 21)]
    ]
    table = pd.DataFrame(rows, columns=["user", "item", "value"])
    table["timestamp"] = random.integers(0, 300, len(table)) + table["user"] // 4
    times = table.pivot_table(index="user", columns="item", values="timestamp").to_numpy()
    return Interactions.from_table(table), times


# --- what is where --------------------------------------------------------------------------------


def test_the_docstrings_table_is_split_as_drawn():
    split = temporal(valid_from=6, test_from=8).split(data_of(DRAWN))
    train, valid_history, valid, test_history, test = parts_of(split)
    assert train == {1: "ab", 2: "bc", 3: "ade"}
    assert valid_history == {1: "ab", 2: "bc"}
    assert valid == {1: "d", 2: "e"}
    assert test_history == {1: "abd", 3: "ade", 4: "bd"}
    assert test == {1: "e", 3: "c", 4: "a"}
    assert split.item_ids.tolist() == list("abcde")


def test_shares_are_of_all_interactions_in_the_order_of_time():
    # one user after the other would be another split: times alternate between two users
    rows = {user: " ".join(f"{chr(97 + n)}{2 * n + user}" for n in range(10)) for user in (0, 1)}
    rows[2] = " ".join(f"{chr(97 + n)}0" for n in range(10))  # knows every item from the start
    split = temporal(valid_fraction=0.1, test_fraction=0.2).split(data_of(rows))
    # 30 times: ten of 0, then 0, 1, …, 19: a fifth, 6, are 14 … 19, and a tenth, 3, are 11, 12, 13
    _, _, valid, _, test = parts_of(split)
    assert valid == {0: "g", 1: "fg"}
    assert test == {0: "hij", 1: "hij"}


def test_one_interaction_is_enough_to_train_on() -> None:
    edges = temporal(valid_fraction=0.4, test_fraction=0.4)._edges(np.arange(5.0))
    assert edges == (1, 3, np.inf)


def test_a_share_that_is_whole_is_not_one_short() -> None:
    assert 0.29 * 1_800_000 < 522_000, "the nearest floating-point number is smaller"
    edges = temporal(test_fraction=0.29)._edges(np.arange(1_800_000.0))
    assert edges == (1_098_000, 1_278_000, np.inf)


def test_windows_lie_one_behind_the_other_and_the_future_is_left_out():
    rows = {user: " ".join(f"{chr(97 + n)}{10 * n + user}" for n in range(10)) for user in (0, 1)}
    rows[2] = " ".join(f"{chr(97 + n)}0" for n in range(10))
    data = data_of(rows)
    tests = []
    for window in (0, 1, 2):
        split = temporal(valid_fraction=0.07, test_fraction=0.07, window=window).split(data)
        train, _, valid, _, test = parts_of(split)
        # of 30 interactions 0.07 are 2: the two of one column
        column = 9 - window
        assert test == {user: chr(97 + column) for user in (0, 1)}
        assert valid == {user: chr(97 + column - 1) for user in (0, 1)}
        assert train[0] == train[1] == "abcdefghij"[: column - 1]
        tests.append(split.fingerprint)
    assert len(set(tests)) == 3


def test_interactions_of_one_instant_are_never_divided():
    rows = {user: f"a0 b1 c1 d{1 + user % 2} e2" for user in range(10)}
    rows[99] = "a0 b0 c0 d0 e0"
    # 55: a tenth are 5 of the 15 with time 2; a tenth before them reaches into those of time 1 …
    data = data_of(rows)
    with pytest.raises(Exception, match="there are 40, 0 and 15"):
        # … unless the start of both lies in the ties of time 2
        temporal(valid_fraction=0.1, test_fraction=0.1).split(data)
    split = temporal(valid_fraction=0.2, test_fraction=0.1).split(data)
    train, _, valid, _, test = parts_of(split)
    assert set(test.values()) == {"e", "de"}
    assert set(valid.values()) == {"bc", "bcd"}
    assert set(train.values()) == {"a", "abcde"}


# --- what always holds ----------------------------------------------------------------------------


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("unknown_items", ["drop", "count"])
def test_nothing_that_a_model_sees_is_from_the_window_or_later(
    at_random: tuple[Interactions, np.ndarray], window: int, unknown_items: str
):
    data, times = at_random
    split = temporal(window=window, unknown_items=unknown_items).split(data)

    def times_in(matrix, user_ids: np.ndarray) -> np.ndarray:
        rows = np.repeat(user_ids, np.diff(matrix.indptr)).astype(int)
        return times[rows, split.item_ids[matrix.indices].astype(int)]

    train = times_in(split.train, split.train_user_ids)
    valid = times_in(split.valid.target, split.valid.user_ids)
    test = times_in(split.test.target, split.test.user_ids)
    assert train.max() < valid.min() <= valid.max() < test.min()
    assert times_in(split.valid.history, split.valid.user_ids).max() < valid.min()
    assert times_in(split.test.history, split.test.user_ids).max() < test.min()
    # candidates: an item has a column only if somebody had it before validation began
    first_seen = np.nanmin(times, axis=0)[split.item_ids.astype(int)]
    assert first_seen.max() < valid.min()
    assert np.unique(split.train.indices).tolist() == list(range(len(split.item_ids)))
    # and everything that a refit or a recommendation sees lies before test
    refit_ids, refit = split.without_test()
    assert times_in(refit, refit_ids).max() < test.min()
    known_ids, known = split.known_histories()
    assert times_in(known, known_ids).max() < test.min()


def test_a_history_is_all_that_the_user_had_before(at_random: tuple[Interactions, np.ndarray]):
    data, times = at_random
    split = temporal(valid_from=200, test_from=250).split(data)
    for fold, start in ((split.valid, 200), (split.test, 250)):
        for row, user in enumerate(fold.user_ids):
            before = np.flatnonzero(times[user] < start)
            seen = split.item_ids[fold.history[row].indices]
            assert sorted(seen) == [item for item in before if item in split.item_ids]


# --- what is unknown ------------------------------------------------------------------------------

NEWCOMERS = {
    1: "a1 b2 d6 z9",  # z is new in test
    2: "a2 b1 y6",  # y is new in validation
    3: "a7 y8",  # new in validation, where y is new too
    4: "a9",  # new in test
    5: "b1 d2 a9",
    6: "y7 a9",  # in test, all that lies before is an item that training does not know
}


@pytest.mark.parametrize("unknown_items", ["drop", "count"])
def test_new_users_are_left_out_and_new_items_are_dropped_or_count(unknown_items: str):
    split = temporal(valid_from=6, test_from=8, unknown_items=unknown_items).split(
        data_of(NEWCOMERS)
    )
    _, valid_history, valid, test_history, test = parts_of(split)
    assert split.item_ids.tolist() == list("abd")
    if unknown_items == "drop":
        assert valid == {1: "d"}
        assert test == {5: "a"}
        assert split.test.n_unknown is None
    else:
        assert valid == {1: "d", 2: ""}
        assert test == {1: "", 3: "", 5: "a"}
        assert dict(zip(split.valid.user_ids, split.valid.n_unknown, strict=True)) == {1: 0, 2: 1}
        assert dict(zip(split.test.user_ids, split.test.n_unknown, strict=True)) == {
            1: 1, 3: 1, 5: 0,
        }  # fmt: skip
        assert test_history[3] == "a"
        assert valid_history[2] == "ab"


def test_what_cannot_be_ranked_is_counted(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        temporal(valid_from=6, test_from=8).split(data_of(NEWCOMERS))
    valid, test = [record.getMessage() for record in caplog.records]
    # validation: 1 d, 2 y, 3 a, 6 y, of which y is unknown and 3 and 6 are new
    assert valid == (
        "split=temporal: validation, 6.0 to 7.0, ranks 1 of 4 interactions and 1 of 4 users; 2 are "
        "of users without a history, 1 of items that training does not know"
    )
    # test: 1 z, 3 y, 4 a, 5 a, 6 a: 4 and 6 have nothing before, z and y are unknown
    assert test == (
        "split=temporal: test, 8.0 to 9.0, ranks 1 of 5 interactions and 1 of 5 users; 2 are of "
        "users without a history, 2 of items that training does not know"
    )


def test_only_a_loss_is_a_warning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        temporal(valid_from=3, test_from=5).split(data_of({1: "a1 b3 c5", 2: "b1 c2", 3: "a2 b6"}))
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, message in levels if "split=temporal" in message] == ["INFO", "INFO"]


# --- given times ----------------------------------------------------------------------------------


@pytest.mark.parametrize("per_second", [1, 10**3, 10**6, 10**9])
def test_dates_are_compared_in_the_unit_of_the_data(per_second: int):
    noon = 1_700_049_600  # 2023-11-15 12:00 UTC
    data = data_of(DRAWN, lambda hour: (noon + 3600 * hour) * per_second)
    by_number = temporal(
        valid_from=(noon + 3600 * 6) * per_second, test_from=(noon + 3600 * 8) * per_second
    ).split(data)
    by_date = temporal(valid_from="2023-11-15 18:00", test_from="2023-11-15T22:00:00+02:00").split(
        data
    )
    assert by_date.fingerprint == by_number.fingerprint
    assert parts_of(by_date)[4] == {1: "e", 3: "c", 4: "a"}


# --- what is refused ------------------------------------------------------------------------------


def test_data_without_times_are_refused(refused):
    table = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "value": 1.0})
    with refused("split=temporal needs the time", "data.timestamp_column=COLUMN", "split=weak"):
        temporal().split(Interactions.from_table(table))


def test_an_empty_part_is_refused(refused):
    data = data_of(DRAWN)
    with refused("validation from 10 and test from 12 there are 14, 0 and 0", "1.0 to 9.0"):
        temporal(valid_from=10, test_from=12).split(data)
    with refused("validation from 7 and test from 6 there are 9, 0 and 7"):
        temporal(valid_from=7, test_from=6).split(data)
    with refused("must leave something to train on", "need 14 of 14", "lower split.window"):
        temporal(window=12).split(data)  # a tenth of 14 is one: 12 later, one to test, one before
    same_time = data_of(dict.fromkeys(range(9), "a5 b5 c5"))
    with refused("there are 0, 0 and 27", "run from 5.0 to 5.0"):
        temporal().split(same_time)


@pytest.mark.parametrize("given", ["tomorrow", "2024-13-01", ""])
def test_a_time_that_is_none_is_refused(refused, given: str):
    with refused("split.valid_from must be a time", repr(given), "neither a number nor"):
        temporal(valid_from=given, test_from=8).split(data_of(DRAWN))


def test_data_that_comes_split_is_refused(refused):
    split = temporal(valid_from=6, test_from=8).split(data_of(DRAWN))
    with refused("already split", "use split=presplit"):
        temporal().split(split)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"valid_fraction": 0}, "valid_fraction"),
        ({"test_fraction": 1}, "test_fraction"),
        ({"valid_from": 3}, "test_from is missing"),
        ({"test_from": "2024-01-01"}, "valid_from is missing"),
        ({"valid_from": 3, "test_from": 4, "window": 1}, "window counts windows of a share"),
        ({"window": -1}, "window"),
        ({"unknown_items": "keep"}, "'drop' or 'count'"),
    ],
)
def test_a_setting_out_of_range_is_refused(change: dict[str, object], complaint: str):
    with pytest.raises(ValidationError, match=complaint):
        temporal(**change)
