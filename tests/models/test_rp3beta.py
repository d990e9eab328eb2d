"""Weights of popular items, by hand and against P3α's dense twin."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.models.rp3beta import RP3Beta
from recsweep.seeds import Seeds
from tests.models.test_p3alpha import dense_twin, values, walks


def fitted(train: np.ndarray, n_neighbors: int, alpha: float, beta: float) -> RP3Beta:
    model = RP3Beta(n_neighbors=n_neighbors, alpha=alpha, beta=beta)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    return model


def test_the_item_reached_is_weighted_by_hand() -> None:
    # P3α's first row is (0, 5/12, 1/6); items 1 and 2 have 2 users and 1
    train = np.array([[1, 1, 0], [1, 1, 1]])
    found = walks(fitted(train, 2, 1.0, 1.0), 3)[0]
    np.testing.assert_allclose(found, [0, 5 / 24, 1 / 6], rtol=1e-6)
    found = walks(fitted(train, 1, 1.0, 2.0), 3)[0]  # 5/48 < 1/6: now item 2 is the likeliest
    np.testing.assert_allclose(found, [0, 0, 1 / 6], rtol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.0, 0.6), (0.4, 0.3)])
def test_it_equals_a_dense_twin(alpha: float, beta: float) -> None:
    train = values(50, 30)
    degrees = train.sum(axis=0)
    weights = np.where(degrees > 0, np.maximum(degrees, 1) ** -beta, 0)
    expected = dense_twin(train, 5, alpha, weights)
    found = walks(fitted(train, 5, alpha, beta), 30)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
