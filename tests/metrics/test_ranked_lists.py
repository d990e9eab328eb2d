"""What metrics are given."""

import numpy as np
import pytest

from recsweep.metrics.ranked_lists import RankedLists, TrainingCounts

HITS = np.array([[True, False, True], [False, True, False]])
N_RELEVANT = np.array([2, 5])


def test_hits_are_cut_and_counted() -> None:
    lists = RankedLists(HITS, N_RELEVANT)
    assert lists.top_hits(2).tolist() == [[True, False], [False, True]]
    assert lists.n_hits(3).tolist() == [2, 1]
    assert lists.n_reachable(3).tolist() == [2, 3]


def test_items_are_cut_and_must_be_of_the_catalogue() -> None:
    items = np.array([[0, 1, 2], [3, 1, 0]])
    assert RankedLists(HITS, N_RELEVANT, items, 4).top_items(1).tolist() == [[0], [3]]
    with pytest.raises(ValueError, match="from 0 to 2, got 3;"):
        RankedLists(HITS, N_RELEVANT, items, 3).top_items(1)
    with pytest.raises(ValueError, match="this metric must know the catalogue"):
        RankedLists(HITS, N_RELEVANT).top_items(1)


def test_popularity_is_known_or_it_is_said() -> None:
    known = RankedLists(HITS, N_RELEVANT, popularity=TrainingCounts(6, np.array([4, 2])))
    assert known.training_popularity().tolist() == [4, 2]
    with pytest.raises(ValueError, match="this metric must know the training data"):
        RankedLists(HITS, N_RELEVANT).training_popularity()


@pytest.mark.parametrize("k", [0, 4])
def test_a_cut_outside_the_lists_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be from 1 to the 3 ranks of the lists, got {k};"):
        RankedLists(HITS, N_RELEVANT).top_hits(k)
