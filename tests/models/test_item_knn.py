"""Neighbours and similarities by hand and against a dense twin."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data import gram
from recsweep.models.item_knn import ItemKNN
from recsweep.seeds import Seeds


def fitted(train: np.ndarray, n_neighbors: int, shrinkage: float = 0.0) -> ItemKNN:
    model = ItemKNN(n_neighbors=n_neighbors, shrinkage=shrinkage)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda _epoch, _losses: True, Seeds(0))
    return model


def similarities(model: ItemKNN, n_items: int) -> np.ndarray:
    """What each item alone in a history gives to all others."""
    return np.asarray(model.score(sp.eye(n_items, format="csr", dtype=np.float32)))


def test_cosine_and_shrinkage_by_hand() -> None:
    # columns (1,1,0), (1,1,1), (0,0,2): products 2, 0 and 2; norms √2, √3 and 2
    train = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 2]])
    a, b = 2 / np.sqrt(6), 2 / np.sqrt(12)
    expected = [[0, a, 0], [a, 0, b], [0, b, 0]]
    np.testing.assert_allclose(similarities(fitted(train, 2), 3), expected, rtol=1e-6)
    a, b = 2 / (np.sqrt(6) + 4), 2 / (np.sqrt(12) + 4)
    expected = [[0, a, 0], [a, 0, b], [0, b, 0]]
    np.testing.assert_allclose(similarities(fitted(train, 2, 4.0), 3), expected, rtol=1e-6)


def test_each_item_keeps_its_own_nearest() -> None:
    # item 1 is nearer to 0 than to 2, but all that item 2 has: column 1 loses 2, column 2 keeps 1
    train = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 2]])
    is_kept = similarities(fitted(train, 1), 3) > 0
    np.testing.assert_array_equal(is_kept, [[False, True, False], [True, False, True], [False] * 3])


def test_ties_go_to_the_lower_item_number() -> None:
    # item 3 shares one user with each of the others, who have equal norms
    train = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    kept = similarities(fitted(train, 2), 4)[:, 3]
    np.testing.assert_allclose(kept, np.array([1, 1, 0, 0]) / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("block_cells", [1, 100, 1 << 22])
def test_it_equals_a_dense_twin(block_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "BLOCK_CELLS", block_cells)
    random = np.random.default_rng(6)
    train = (random.random((50, 30)) < 0.3) * (1 + random.random((50, 30)))
    train[:, 7] = 0  # an item without users has no neighbours
    norms = np.linalg.norm(train, axis=0)
    dense = train.T @ train / (np.outer(norms, norms) + 2.5)
    np.fill_diagonal(dense, 0)
    least = np.sort(dense, axis=0)[-5]
    expected = np.where(dense >= least, dense, 0)  # values are real: no ties
    np.testing.assert_allclose(
        similarities(fitted(train, 5, 2.5), 30), expected, rtol=1e-5, atol=1e-7
    )


def test_values_of_zero_make_no_similarity() -> None:
    train = sp.csr_matrix(([0.0, 0.0, 1.0], ([0, 0, 1], [0, 1, 2])), shape=(2, 3), dtype=np.float32)
    model = ItemKNN(n_neighbors=1, shrinkage=0.0)
    model.fit(train, lambda _epoch, _losses: True, Seeds(0))
    assert not similarities(model, 3).any()


@pytest.mark.slow
def test_a_catalogue_of_100_000_items_is_cut_into_blocks() -> None:
    random = np.random.default_rng(0)
    n_users, n_items, n_clicks = 50_000, 100_000, 1_000_000
    items = np.minimum(random.zipf(1.3, n_clicks) - 1, n_items - 1)
    users = random.integers(n_users, size=n_clicks)
    train = sp.csr_matrix((np.ones(n_clicks, np.float32), (users, items)), (n_users, n_items))
    model = ItemKNN(n_neighbors=20, shrinkage=10.0)
    model.fit(train, lambda _epoch, _losses: True, Seeds(0))
    assert model.state()["data"].size <= 20 * n_items
    assert np.isfinite(model.score(train[:10])).all()
