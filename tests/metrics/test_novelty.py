"""Novelty, worked by hand."""

import numpy as np
import pytest

from recsweep.metrics.novelty import Novelty
from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts


def lists_of(*rows: list[int], n_items: int, counts: list[int] | None = None) -> RankedLists:
    """Lists of items without hits."""
    items = np.array(rows)
    popularity = None if counts is None else TrainingCounts(10, np.array(counts))
    nobody, ones = np.zeros(items.shape, bool), np.ones(len(items), np.int64)
    return RankedLists(nobody, ones, items, n_items, popularity)


def test_it_is_the_mean_share_of_training_users_without_the_item():
    lists = lists_of([0, 1, 2], [3, 2, 1], n_items=4, counts=[8, 4, 1, 0])  # of 10 users
    assert Novelty().per_user(lists, 1) == pytest.approx([0.2, 1])
    assert Novelty().per_user(lists, 2) == pytest.approx([0.4, 0.95])
    assert Novelty().per_user(lists, 3) == pytest.approx([(0.2 + 0.6 + 0.9) / 3, 2.5 / 3])


def test_a_filler_does_not_count():
    lists = lists_of([0, 1, 0, 0], n_items=4, counts=[8, 4, 1, 0])
    assert Novelty().per_user(lists, 4) == pytest.approx([0.4])


def test_without_the_training_data_it_is_refused():
    with pytest.raises(ValueError, match="must know the training data"):
        Novelty().per_user(lists_of([0], n_items=1), 1)
