"""ELSA against a NumPy twin in float64, its gradient, and one backend against the other."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from backends import assert_backends_agree

from recsweep.models.elsa import ELSA
from recsweep.seeds import Seeds
from recsweep.training.batches import in_order
from recsweep.training.engine import Engine
from recsweep.training.optimizers import SGD

N_USERS, N_ITEMS, RATE, L2 = 6, 9, 0.3, 0.02


def listens() -> sp.csr_matrix:
    random = np.random.default_rng(8)
    dense = (random.random((N_USERS, N_ITEMS)) < 0.4) * (1 + random.random((N_USERS, N_ITEMS)))
    dense[2] = 0
    return sp.csr_matrix(dense.astype(np.float32))


def model(**changes: float) -> ELSA:
    sgd = SGD(learning_rate=RATE, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    settings = {"latent_dim": 4, "l2": L2, "batch_size": 4, "n_epochs": 1, **changes}
    return ELSA(optimizer=sgd, **settings)  # type: ignore[arg-type]


def one_step(scale: float = 1) -> dict[str, np.ndarray]:
    """Weights before and after a step on 8 rows of which 6 are users, and what it lost."""
    network = model().network(N_ITEMS, Seeds(0))
    weights = np.random.default_rng(1).normal(size=(N_ITEMS, 4)).astype(np.float32) * 0.5
    network.kernel.assign(weights)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    engine = Engine(network, sgd, 8)
    losses = engine.train(
        in_order(listens() * np.float32(scale), 8), {"l2": np.float32([L2])}, np.float32([RATE])
    )
    return {
        "before": weights,
        "after": engine.state()["elsa/kernel"],
        **{name: np.float64(value) for name, value in losses.items()},
    }


def predicted(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x·(A·Aᵀ − I)."""
    vectors = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return x @ (vectors @ vectors.T - np.eye(len(vectors)))


def loss_of(weights: np.ndarray) -> float:
    """Squared distances of rows of length 1; an empty row is at distance 0."""
    x = listens().toarray().astype(np.float64)
    x = x[x.any(axis=1)]
    rows = predicted(weights, x)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return float(((rows - x) ** 2).sum() / N_USERS + L2 * (weights**2).sum())


def test_loss_and_step_equal_a_numpy_twin() -> None:
    found = one_step()
    weights = found["before"].astype(np.float64)
    assert found["loss"] == pytest.approx(loss_of(weights), rel=1e-5)
    assert found["l2"] == pytest.approx(L2 * (weights**2).sum(), rel=1e-5)
    assert found["reconstruction"] == pytest.approx(found["loss"] - found["l2"], rel=1e-5)
    gradient = np.empty_like(weights)
    for place in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[place] = 1e-5
        gradient[place] = (loss_of(weights + step) - loss_of(weights - step)) / 2e-5
    np.testing.assert_allclose(found["after"], weights - RATE * gradient, atol=1e-5)  # float32
    assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("scale", [1e15, 1e10, 1e-8, 1e-14])
def test_the_scale_of_values_changes_no_step(scale: float) -> None:
    found, expected = one_step(scale), one_step()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )  # float32


def test_scores_are_those_of_unit_vectors_without_the_history_itself() -> None:
    found = model()
    weights = np.random.default_rng(2).normal(size=(N_ITEMS, 4)).astype(np.float32)
    weights[5] = 0  # an item of which nothing was learned
    found.restore({"elsa/kernel": weights})
    with np.errstate(invalid="ignore"):
        expected = predicted(np.where(weights == 0, 1e-30, weights).astype(np.float64), np.eye(9))
    expected[5], expected[:, 5] = 0, 0
    expected[5, 5] = -1
    x = listens()
    np.testing.assert_allclose(np.asarray(found.score(x)), x.toarray() @ expected, atol=1e-5)


def test_the_length_of_a_vector_changes_no_score() -> None:
    found, scaled = model(), model()
    weights = np.random.default_rng(3).normal(size=(N_ITEMS, 4)).astype(np.float32)
    found.restore({"elsa/kernel": weights})
    scaled.restore({"elsa/kernel": weights * np.arange(1, N_ITEMS + 1, dtype=np.float32)[:, None]})
    np.testing.assert_allclose(
        np.asarray(found.score(listens())), np.asarray(scaled.score(listens())), atol=1e-5
    )


@pytest.mark.extended
def test_a_step_agrees_between_the_backends(tmp_path: Path) -> None:
    assert_backends_agree(one_step, tmp_path)
