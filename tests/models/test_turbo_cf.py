"""Turbo-CF by hand and against a dense twin that writes out the paper's filters."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep import memory
from recsweep.data import gram
from recsweep.errors import InputError
from recsweep.models import turbo_cf
from recsweep.models.turbo_cf import TurboCF
from recsweep.seeds import Seeds


def clicks(n_users: int, n_items: int, density: float) -> np.ndarray:
    train = (np.random.default_rng(3).random((n_users, n_items)) < density).astype(np.float64)
    train[4], train[:, 7] = 0, 0  # nobody and nothing
    return train


def fitted(train: np.ndarray, alpha: float, power: float, filter_order: int) -> TurboCF:
    model = TurboCF(alpha=alpha, power=power, filter_order=filter_order)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    return model


def dense_twin(train: np.ndarray, alpha: float, power: float) -> dict[int, np.ndarray]:
    """Order -> the filter's matrix, in float64."""
    of_users, of_items = train.sum(axis=1), train.sum(axis=0)
    of_users[of_users == 0] = of_items[of_items == 0] = 1
    scaled = train / of_users[:, None] ** alpha / of_items ** (1 - alpha)
    p = (scaled.T @ scaled) ** power
    return {1: p, 2: 2 * p - p @ p, 3: p + 0.01 * (-p @ p @ p + 10 * p @ p - 29 * p)}


def test_two_users_by_hand() -> None:
    # users have 1 and 2 items, items 2 and 1 users; alpha 1 counts users alone:
    # R̃ = [[1, 0], [1/2, 1/2]], P = [[5/4, 1/4], [1/4, 1/4]]; its square roots with power 1/2
    train = np.array([[1, 0], [1, 1]])
    history = sp.csr_matrix(np.array([[0, 1]], np.float32))
    np.testing.assert_allclose(fitted(train, 1.0, 1.0, 1).score(history), [[0.25, 0.25]])
    np.testing.assert_allclose(fitted(train, 1.0, 0.5, 1).score(history), [[0.5, 0.5]])
    # P² = [[26, 6], [6, 2]]/16, 2P − P² in the second row: 1/2 − 6/16, 1/2 − 2/16
    np.testing.assert_allclose(fitted(train, 1.0, 1.0, 2).score(history), [[0.125, 0.375]])


@pytest.mark.parametrize("dense_fraction", [0.0, 1.0])
@pytest.mark.parametrize("block_cells", [100, 1 << 22])
@pytest.mark.parametrize(("alpha", "power"), [(0.5, 1.0), (0.6, 0.7), (0.2, 1.4)])
@pytest.mark.parametrize("filter_order", [1, 2, 3])
def test_it_equals_a_dense_twin(
    filter_order: int, alpha: float, power: float, block_cells: int, dense_fraction: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(gram, "BLOCK_CELLS", block_cells)
    monkeypatch.setattr(turbo_cf, "DENSE_FRACTION", dense_fraction)
    monkeypatch.setattr(turbo_cf, "CHUNK_USERS", 7)
    train = clicks(60, 40, 0.1)
    expected = train @ dense_twin(train, alpha, power)[filter_order]
    model = fitted(train, alpha, power, filter_order)
    scores = model.score(sp.csr_matrix(train.astype(np.float32)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=1e-6)  # float32 sums


def test_only_pairs_with_a_common_user_are_kept_and_none_of_a_plain_product() -> None:
    train = np.array([[1, 1, 0, 0], [0, 1, 1, 0]])
    assert fitted(train, 0.5, 0.9, 1).state()["data"].size == 7  # 3 × 3 less items 0 and 2
    assert fitted(train, 0.5, 1.0, 1).state()["data"].size == 4  # the clicks


def test_a_graph_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    train = np.array([[1, 1, 0, 0], [0, 1, 1, 0]])
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 8 * 7 - 1)
    with pytest.raises(InputError, match=r"item graph's 7 links must .*set model\.power=1, which"):
        fitted(train, 0.5, 0.9, 1)
    fitted(train, 0.5, 1.0, 1)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * 8 * 7)
    fitted(train, 0.5, 0.9, 1)
