"""Popularity where float32 runs out of different numbers."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.evaluation import top_k
from recsweep.models.popularity import Popularity
from recsweep.seeds import Seeds

N = 2**24  # the first count after which float32 knows only every other whole number
LARGEST = float(np.finfo(np.float32).max)


def fitted(*columns: list[float]) -> Popularity:
    """A model of items with these values each, one user after the other."""
    train = np.array(columns, np.float32).T
    model = Popularity()
    model.fit(sp.csr_matrix(train), lambda *_: True, Seeds(0))
    return model


def scores(model: Popularity) -> np.ndarray:
    n_items = len(model.state()["totals"])
    return np.array(model.score(sp.csr_matrix((1, n_items), dtype=np.float32)))


def test_counts_go_on_above_what_float32_can_count():
    # added up in float32 one by one, N + 1 + 1 stays N, and N + 2 is found for the second item
    model = fitted([N, 1, 1, 1, 1], [N + 2, 0, 0, 0, 0])
    assert scores(model)[0].tolist() == [N + 4, N + 2]


@pytest.mark.parametrize("totals", [[N, 1], [N, 0], [2 * N, 3], [LARGEST, LARGEST], [0, 0]])
def test_items_rank_by_their_exact_totals(totals: list[float]):
    more, less = totals, [totals[0], 0]
    found = scores(fitted(less, more, less))
    assert np.isfinite(found).all()
    order = [1, 0, 2] if sum(more) > sum(less) else [0, 1, 2]
    assert top_k(found, sp.csr_matrix((1, 3), dtype=np.float32), 3).tolist() == [order]
    assert found[0, 0] == found[0, 2]


def test_totals_that_float32_holds_are_the_scores():
    model = fitted([1, 2, 3], [0, 0, 0], [0.5, 0, 0.25], [-1, -2, 0], [-4, 0, 0], [N, 0, 0])
    assert scores(model)[0].tolist() == [6, 0, 0.75, -3, -4, N]
