"""The Gini coefficient against the page, the mean difference of all pairs, and ends."""

import numpy as np
import pytest

from recsweep.metrics.gini import Gini
from recsweep.metrics.ranked_lists import RankedLists


def lists_of(*rows: list[int], n_items: int) -> RankedLists:
    """Lists of items without hits."""
    items = np.array(rows)
    return RankedLists(np.zeros(items.shape, bool), np.ones(len(items), np.int64), items, n_items)


def gini(*rows: list[int], n_items: int, k: int) -> float:
    return Gini().of_catalog(lists_of(*rows, n_items=n_items), k)


def test_it_is_the_weighted_sum_of_the_sorted_shares():
    # counts 3, 1, 0, 0 of 4: sorted shares 0, 0, 1/4, 3/4 with weights -3, -1, 1, 3, over n - 1 = 3
    assert gini([0], [0], [1], [0], n_items=4, k=1) == pytest.approx((1 / 4 + 3 * 3 / 4) / 3)


@pytest.mark.parametrize(("n_items", "expected"), [(2, 0), (4, 1 / 1.5)])
def test_items_that_nobody_gets_are_of_the_catalogue_too(n_items: int, expected: float):
    # of 4 items two get a half each: (1/2 + 3/2) / 3
    assert gini([0, 1], [1, 0], n_items=n_items, k=2) == pytest.approx(expected)


def test_one_item_for_all_is_1_and_all_equally_often_is_0():
    assert gini([4], [4], [4], n_items=5, k=1) == pytest.approx(1)
    assert gini([0, 1], [2, 3], n_items=4, k=2) == 0
    assert gini([0], [0], n_items=1, k=1) == 0
    assert gini([4], n_items=5, k=1) == pytest.approx(1), "a single list of one item"


def test_without_lists_it_is_0():
    nobody = RankedLists(
        np.zeros((0, 1), bool), np.zeros(0, np.int64), np.zeros((0, 1), np.int64), 5
    )
    assert Gini().of_catalog(nobody, 1) == 0


def test_it_is_half_the_mean_difference_of_all_pairs_over_the_mean():
    random = np.random.default_rng(11)
    rows = [random.permutation(30)[:8].tolist() for _ in range(25)]
    for k in (1, 5, 8):
        counts = np.bincount([item for row in rows for item in row[:k]], minlength=30)
        differences = np.abs(np.subtract.outer(counts, counts)).sum() / (30 * 29)
        assert gini(*rows, n_items=30, k=k) == pytest.approx(differences / 2 / counts.mean())


def test_fillers_are_not_recommended_twice():
    # counts 2, 2, 1 of 5: (-2 * 1 + 0 * 2 + 2 * 2) / (5 * 2)
    assert gini([0, 1, 0], [2, 0, 1], n_items=3, k=3) == pytest.approx(2 / 10)
