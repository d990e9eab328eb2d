"""Catalogue coverage against counts on the page and a naive twin."""

import numpy as np
import pytest

from recsweep.metrics.coverage import Coverage
from recsweep.metrics.ranked_lists import RankedLists


def coverage_at_k(ranked_items: np.ndarray, n_items: int, k: int) -> float:
    nobody = np.zeros(ranked_items.shape, bool)
    n_relevant = np.ones(len(ranked_items), np.int64)
    return Coverage().of_catalog(RankedLists(nobody, n_relevant, ranked_items, n_items), k)


TWO_USERS = np.array([[0, 1, 2], [0, 3, 1]])


@pytest.mark.parametrize(
    ("k", "n_shown"),
    [(1, 1), (2, 3), (3, 4)],  # {0}; {0, 1, 3}; {0, 1, 2, 3}
)
def test_coverage_is_the_share_of_items_in_at_least_one_top_k(k, n_shown):
    assert coverage_at_k(TWO_USERS, n_items=8, k=k) == n_shown / 8


def test_the_same_list_for_everybody_covers_k_items():
    everybody = np.tile([4, 2, 7], (100, 1))
    assert coverage_at_k(everybody, n_items=10, k=3) == 3 / 10


def test_coverage_is_1_when_every_item_is_shown_to_somebody():
    assert coverage_at_k(np.array([[0, 1], [2, 3], [3, 0]]), n_items=4, k=2) == 1.0


def test_coverage_of_all_users_is_not_the_mean_over_batches():
    batches = TWO_USERS[:1], TWO_USERS[1:]
    assert [coverage_at_k(batch, n_items=4, k=2) for batch in batches] == [2 / 4, 2 / 4]
    assert coverage_at_k(TWO_USERS, n_items=4, k=2) == 3 / 4


def test_coverage_equals_the_size_of_the_union_of_the_lists():
    rng = np.random.default_rng(2010)
    ranked = np.array([rng.permutation(500)[:10] for _ in range(40)])
    for k in range(1, 11):
        union = set().union(*(items[:k] for items in ranked.tolist()))
        assert coverage_at_k(ranked, n_items=500, k=k) == len(union) / 500


def test_coverage_never_falls_with_k_or_with_another_user():
    rng = np.random.default_rng(2010)
    ranked = np.array([rng.permutation(50)[:10] for _ in range(8)])
    by_cut = [coverage_at_k(ranked, n_items=50, k=k) for k in range(1, 11)]
    by_users = [coverage_at_k(ranked[:n], n_items=50, k=3) for n in range(1, 9)]
    assert by_cut == sorted(by_cut)
    assert by_users == sorted(by_users)
    assert 0 < by_users[0] <= by_cut[-1] <= 1


def test_no_users_cover_nothing():
    assert coverage_at_k(np.zeros((0, 3), dtype=np.int64), n_items=5, k=3) == 0.0


@pytest.mark.parametrize("k", [-1, 0, 4])
def test_a_cut_outside_the_list_is_an_error(k):
    with pytest.raises(ValueError, match=f"k must be from 1 to the 3 ranks .* got {k};"):
        coverage_at_k(TWO_USERS, n_items=8, k=k)


def test_an_empty_catalogue_is_an_error():
    with pytest.raises(ValueError, match="this metric must know the catalogue"):
        coverage_at_k(TWO_USERS, n_items=0, k=1)


@pytest.mark.parametrize("item", [-1, 8])
def test_an_item_outside_the_catalogue_is_an_error_that_names_it(item):
    with pytest.raises(ValueError, match=f"item numbers must be from 0 to 7, got {item};"):
        coverage_at_k(np.array([[0, 1, item]]), n_items=8, k=2)
