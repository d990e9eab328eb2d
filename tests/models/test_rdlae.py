"""RDLAE against a solver that searches for the constrained minimum column by column."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

from recsweep import accelerator
from recsweep.models.ease import EASE
from recsweep.models.rdlae import RDLAE
from recsweep.seeds import Seeds


def clicks(n_users: int, n_items: int) -> np.ndarray:
    random = np.random.default_rng(2)
    return (random.random((n_users, n_items)) < 0.1 + 0.5 * random.random(n_items)).astype(float)


def fitted(train: np.ndarray, l2: float, dropout_rate: float, xi: float) -> np.ndarray:
    model = RDLAE(l2=l2, dropout_rate=dropout_rate, xi=xi)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    return model.state()["weights"]


def searched(train: np.ndarray, l2: float, dropout_rate: float, xi: float) -> np.ndarray:
    """The minimum of tr(BᵀGB) − 2·tr(GB) + tr(BᵀΛB) with diag(B) ≤ xi, G = XᵀX; float64."""
    gram = train.T @ train
    square = gram + l2 * np.eye(len(gram))
    square += np.diag(np.diagonal(gram) * dropout_rate / (1 - dropout_rate))
    columns = []
    for item in range(len(gram)):
        bounds = [(None, xi if other == item else None) for other in range(len(gram))]
        column = gram[:, item]
        found = minimize(
            lambda b, column=column: b @ square @ b - 2 * column @ b,
            np.zeros(len(gram)), jac=lambda b, column=column: 2 * (square @ b - column),
            bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        columns.append(found.x)
    return np.column_stack(columns)


@pytest.mark.parametrize("is_on_device", [False, True])
@pytest.mark.parametrize(("dropout_rate", "xi"), [(0.0, 0.4), (0.5, 0.3), (0.5, 1.0), (0.3, 0.0)])
def test_it_is_the_constrained_minimum(
    dropout_rate: float, xi: float, is_on_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "is_available", lambda: is_on_device)
    train = clicks(60, 15)
    weights = fitted(train, 12.0, dropout_rate, xi)
    expected = searched(train, 12.0, dropout_rate, xi)
    np.testing.assert_allclose(weights, expected, atol=2e-5)  # the search's own tolerance
    is_bound = np.isclose(np.diagonal(expected), xi)
    assert is_bound.any() == (xi < 1)
    if 0 < xi < 1:
        assert not is_bound.all(), "both kinds of columns are there"


def test_one_item_by_hand() -> None:
    # XᵀX = 2, l2 = 2: free, B = 2/4; bound by .3, B = .3
    train = np.array([[1.0], [1.0]])
    np.testing.assert_allclose(fitted(train, 2.0, 0.0, 1.0), [[0.5]], rtol=1e-6)
    np.testing.assert_allclose(fitted(train, 2.0, 0.0, 0.3), [[0.3]], rtol=1e-6)
    # a dropout rate of .5 doubles XᵀX in the penalty: 2/(2 + 2 + 2)
    np.testing.assert_allclose(fitted(train, 2.0, 0.5, 1.0), [[1 / 3]], rtol=1e-6)


def test_without_a_diagonal_it_is_ease() -> None:
    train = clicks(60, 15)
    model = EASE(l2=3.0, dropout_rate=0.2)
    model.fit(sp.csr_matrix(train.astype(np.float32)), lambda *_: True, Seeds(0))
    np.testing.assert_array_equal(fitted(train, 3.0, 0.2, 0.0), model.state()["weights"])
