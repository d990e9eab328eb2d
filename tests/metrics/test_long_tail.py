"""The share of the long tail, worked by hand."""

import numpy as np
import pytest

from recsweep.metrics.long_tail import LongTail
from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts


def lists_of(*rows: list[int], n_items: int, counts: list[int] | None = None) -> RankedLists:
    """Lists of items without hits."""
    items = np.array(rows)
    popularity = None if counts is None else TrainingCounts(10, np.array(counts))
    nobody, ones = np.zeros(items.shape, bool), np.ones(len(items), np.int64)
    return RankedLists(nobody, ones, items, n_items, popularity)


def share(row: list[int], counts: list[int], k: int) -> float:
    lists = lists_of(row, n_items=len(counts), counts=counts)
    (value,) = LongTail().per_user(lists, k)
    return float(value)


@pytest.mark.parametrize(
    ("counts", "tail"),
    [
        ([8, 1, 1], {1, 2}),  # item 0 alone has 80 %
        ([79, 10, 11], {1}),  # it has 79 %, and item 2 is the next
        ([5, 5, 5, 5], set()),  # three of four are 75 %, so all are in the head
        ([1, 2, 30, 0, 7], {0, 1, 3}),  # 30 of 40 are 75 %, 37 are more than 80 %
        ([10, 10, 10, 10, 10], {4}),  # four of five are 80 % exactly; ties go by number
    ],
)
def test_the_head_is_the_smallest_set_with_80_percent(counts: list[int], tail: set[int]):
    assert {item for item in range(len(counts)) if share([item], counts, 1)} == tail


def test_it_is_the_share_of_the_top_k():
    counts = [8, 1, 1]
    assert [share([1, 0, 2], counts, k) for k in (1, 2, 3)] == pytest.approx([1, 1 / 2, 2 / 3])
    assert share([0, 1, 0, 0], [8, 1, 1, 0], 4) == 1 / 2, "fillers do not count"


def test_without_the_training_data_it_is_refused():
    with pytest.raises(ValueError, match="must know the training data"):
        LongTail().per_user(lists_of([0], n_items=1), 1)
