"""Whole users are held out; the draw itself is held to the paper's code by `splits.test_strong`."""

import numpy as np
import pandas as pd
import pytest

from recsweep.data.held_out_users import HeldOutUsers
from recsweep.data.interactions import Interactions


def data_of(n_users: int, n_items: int) -> Interactions:
    rows = [(user, item, 1.0) for user in range(n_users) for item in range(n_items)]
    return Interactions.from_table(pd.DataFrame(rows, columns=["user", "item", "value"]))


def test_each_part_has_the_users_that_it_is_given_in_that_order():
    train, valid, test = np.array([5, 0, 2]), np.array([4]), np.array([3, 1])
    split = HeldOutUsers(0.2, 7).split(data_of(6, 10), train, valid, test)
    assert split.train_user_ids.tolist() == [5, 0, 2]
    assert split.valid.user_ids.tolist() == [4]
    assert split.test.user_ids.tolist() == [3, 1]
    assert split.train.nnz == 30
    for fold in (split.valid, split.test):
        assert np.diff(fold.history.indptr).tolist() == len(fold.user_ids) * [8]
        assert np.diff(fold.target.indptr).tolist() == len(fold.user_ids) * [2]
        assert (fold.history + fold.target).toarray().min() == 1


def test_a_user_too_short_for_a_target_is_refused(refused):
    with refused("must have 5 interactions", "but 1 have fewer (first: user 4)"):
        HeldOutUsers(0.2, 7).split(data_of(6, 4), np.arange(4), np.array([4]), np.array([5]))


@pytest.mark.parametrize(
    ("fraction", "n_items"),
    [(0.1, "10"), (0.3, "4"), (0.49, "3"), (1e-9, "1,000,000,000"), (0.09999999999999999, "11")],
)
def test_the_least_history_is_the_shortest_with_a_whole_target(
    refused, fraction: float, n_items: str
):
    with refused(f"must have {n_items} interactions"):
        HeldOutUsers(fraction, 7).split(data_of(6, 2), np.arange(4), np.array([4]), np.array([5]))


@pytest.mark.parametrize("seed", [7, 8])
def test_the_draw_does_not_depend_on_the_order_of_the_users(seed: int):
    data, train, valid = data_of(8, 10), np.arange(4), np.array([4])
    one, other = (
        HeldOutUsers(0.3, seed).split(data, train, valid, np.array(test)).test
        for test in ([5, 6, 7], [7, 5, 6])
    )
    np.testing.assert_array_equal(one.target.toarray()[[2, 0, 1]], other.target.toarray())
