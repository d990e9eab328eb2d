"""Walks by hand, and against a dense twin of three transition matrices."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data import gram
from recsweep.models.p3alpha import P3Alpha
from recsweep.seeds import Seeds


def fitted(train: np.ndarray, n_neighbors: int, alpha: float) -> P3Alpha:
    model = P3Alpha(n_neighbors=n_neighbors, alpha=alpha)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    return model


def walks(model: P3Alpha, n_items: int) -> np.ndarray:
    """What each item alone in a history gives to all others."""
    return np.asarray(model.score(sp.eye(n_items, format="csr", dtype=np.float32)))


def divided(values: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)


def dense_twin(
    train: np.ndarray, n_neighbors: int, alpha: float, weights: np.ndarray
) -> np.ndarray:
    """Item to user to item, then the largest of each row, then of each column; float64."""
    to_items = divided(train, train.sum(axis=1, keepdims=True)) ** alpha
    to_users = divided(train, train.sum(axis=0, keepdims=True)).T ** alpha
    found = to_users @ to_items * weights
    np.fill_diagonal(found, 0)
    for axis in (1, 0):
        least = np.sort(found, axis=axis).take([-n_neighbors], axis=axis)
        found = np.where(found >= least, found, 0)  # values are real: no ties
    return found


def values(n_users: int, n_items: int) -> np.ndarray:
    random = np.random.default_rng(6)
    train = (random.random((n_users, n_items)) < 0.3) * (1 + random.random((n_users, n_items)))
    train[4], train[:, 7] = 0, 0  # nobody and nothing
    return train


def test_a_walk_by_hand() -> None:
    # item 0 -> user 0 or 1 (1/2 each); user 0 -> item 0 or 1, user 1 -> items 0, 1, 2
    train = np.array([[1, 1, 0], [1, 1, 1]])
    to_1, to_2 = 1 / 2 * 1 / 2 + 1 / 2 * 1 / 3, 1 / 2 * 1 / 3
    expected = [[0, to_1, to_2], [to_1, 0, to_2], [1 / 3, 1 / 3, 0]]
    np.testing.assert_allclose(walks(fitted(train, 2, 1.0), 3), expected, rtol=1e-6)
    to_1, to_2 = 1 / 16 + 1 / 36, 1 / 36
    expected = [[0, to_1, to_2], [to_1, 0, to_2], [1 / 9, 1 / 9, 0]]
    np.testing.assert_allclose(walks(fitted(train, 2, 2.0), 3), expected, rtol=1e-6)


def test_the_likeliest_are_kept_in_both_directions() -> None:
    # one next item each: 0 -> 1, 1 -> 0 and, of a tie, 2 -> 0; item 0 keeps 1 (5/12), not 2 (1/3)
    train = np.array([[1, 1, 0], [1, 1, 1]])
    is_kept = walks(fitted(train, 1, 1.0), 3) > 0
    np.testing.assert_array_equal(
        is_kept, [[False, True, False], [True, False, False], [False] * 3]
    )


def test_a_history_is_the_walks_first_step() -> None:
    train = values(50, 30)
    model = fitted(train, 30, 0.5)
    scores = model.score(sp.csr_matrix(np.eye(1, 30) * 4 + np.eye(1, 30, 3) * 9))
    np.testing.assert_allclose(scores, 2 * walks(model, 30)[:1] + 3 * walks(model, 30)[3:4], 1e-6)


@pytest.mark.parametrize("block_cells", [1, 100, 1 << 22])
@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.7])
def test_it_equals_a_dense_twin(
    alpha: float, block_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram, "BLOCK_CELLS", block_cells)
    train = values(50, 30)
    expected = dense_twin(train, 5, alpha, np.ones(30))
    assert 0 < np.count_nonzero(expected) < 5 * 29  # some are dropped by the second choice
    np.testing.assert_allclose(walks(fitted(train, 5, alpha), 30), expected, rtol=1e-5, atol=1e-9)
