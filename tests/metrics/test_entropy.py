"""Entropy against the page and SciPy."""

import numpy as np
import pytest
from scipy import stats

from recsweep.metrics.entropy import Entropy
from recsweep.metrics.ranked_lists import RankedLists


def lists_of(*rows: list[int], n_items: int) -> RankedLists:
    """Lists of items without hits."""
    items = np.array(rows)
    return RankedLists(np.zeros(items.shape, bool), np.ones(len(items), np.int64), items, n_items)


def entropy(*rows: list[int], n_items: int, k: int) -> float:
    return Entropy().of_catalog(lists_of(*rows, n_items=n_items), k)


def test_it_is_the_entropy_of_the_shares_in_bits():
    # shares 1/2, 1/4, 1/4: 1/2 + 2/4 + 2/4
    assert entropy([0, 1], [0, 2], n_items=9, k=2) == pytest.approx(1.5)
    assert entropy([0, 1], [0, 2], n_items=9, k=1) == 0


def test_all_equally_often_reach_the_logarithm_of_the_catalogue():
    assert entropy([0, 1, 2, 3], [4, 5, 6, 7], n_items=8, k=4) == pytest.approx(3)


def test_it_equals_scipys():
    random = np.random.default_rng(11)
    rows = [random.permutation(30)[:8].tolist() for _ in range(25)]
    for k in (1, 5, 8):
        counts = np.bincount([item for row in rows for item in row[:k]], minlength=30)
        assert entropy(*rows, n_items=30, k=k) == pytest.approx(stats.entropy(counts, base=2))


def test_a_filler_is_not_recommended_twice():
    assert entropy([0, 1, 0], n_items=9, k=3) == pytest.approx(1)


def test_no_users_have_no_entropy():
    nobody = np.zeros((0, 3), np.int64)
    lists = RankedLists(nobody.astype(bool), np.zeros(0, np.int64), nobody, 5)
    assert Entropy().of_catalog(lists, 3) == 0
