"""Sparse products equal dense ones, whatever fills up the batch."""

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.training import engine, programs, sparse
from recsweep.training.batches import Batch, DenseBatch, in_order
from recsweep.training.optimizers import SGD
from recsweep.training.sparse import (
    SparseDense,
    at_items,
    at_rows,
    densify,
    dot_rows,
    entry_products,
    row_sums,
    sparse_matmul,
)

N_USERS, N_ROWS, N_ITEMS = 7, 9, 13


@pytest.fixture
def matrix() -> sp.csr_matrix:
    random = np.random.default_rng(2)
    dense = (random.random((N_USERS, N_ITEMS)) < 0.4) * random.random((N_USERS, N_ITEMS))
    dense[[0, 3]] = 0  # empty rows, one of them first
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.fixture
def batch(matrix: sp.csr_matrix) -> Batch:
    return Batch(*(part[0] for part in in_order(matrix, N_ROWS)))  # two rows only fill up


def padded(matrix: sp.csr_matrix) -> np.ndarray:
    return np.vstack([matrix.toarray(), np.zeros((N_ROWS - N_USERS, N_ITEMS), np.float32)])


def test_densify_is_the_matrix(matrix: sp.csr_matrix, batch: Batch) -> None:
    dense = np.asarray(densify(batch, batch.values, N_ITEMS))
    np.testing.assert_array_equal(dense, padded(matrix))


def both_ways(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The density decides on TensorFlow; here one of the ways is taken for every batch."""
    limit = {"sparse": 1e9, "dense": 0.0}[way]
    monkeypatch.setattr(sparse, "dense_above", lambda: limit)


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_sparse_matmul_is_the_dense_product(
    matrix: sp.csr_matrix, batch: Batch, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_ways(monkeypatch, way)
    kernel = np.random.default_rng(3).normal(size=(N_ITEMS, 4)).astype(np.float32)
    product = np.asarray(sparse_matmul(batch, batch.values, kernel))
    np.testing.assert_allclose(product, padded(matrix) @ kernel, rtol=1e-5, atol=1e-6)  # float32


class _Product(keras.Model):
    """Loss Σ w∘(x·kernel), whose gradient is xᵀ·w."""

    architecture = "product"

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.kernel = self.add_weight((N_ITEMS, 4), initializer="zeros", name="kernel")
        self.weights_of_cells = weights
        self.built = True

    def call(self, batch: Batch, **_inputs: object) -> dict[str, object]:
        product = sparse_matmul(batch, batch.values, self.kernel)
        return {"loss": keras.ops.sum(product * self.weights_of_cells)}

    def scores(self, batch: Batch) -> object:
        return sparse_matmul(batch, batch.values, self.kernel)


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_the_gradient_is_the_transposed_product(
    matrix: sp.csr_matrix, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_ways(monkeypatch, way)
    monkeypatch.setattr(programs, "_PROGRAMS", {})
    weights = np.random.default_rng(5).normal(size=(N_ROWS, 4)).astype(np.float32)
    sgd = SGD(learning_rate=1.0, schedule="none", learning_rate_decay=1.0, momentum=0.0)
    trained = engine.Engine(_Product(weights), sgd, N_ROWS)
    trained.train(in_order(matrix, N_ROWS), {}, np.float32([1.0]))
    (after,) = trained.state().values()
    np.testing.assert_allclose(after, -padded(matrix).T @ weights, rtol=1e-5, atol=1e-6)  # float32


def test_dot_rows_is_the_dense_dot(matrix: sp.csr_matrix, batch: Batch) -> None:
    dense = np.random.default_rng(4).normal(size=(N_ROWS, N_ITEMS)).astype(np.float32)
    expected = (padded(matrix) * dense).sum(axis=1)
    np.testing.assert_allclose(np.asarray(dot_rows(batch, dense)), expected, rtol=1e-5, atol=1e-6)


def test_row_sums_are_the_rows_sums(matrix: sp.csr_matrix, batch: Batch) -> None:
    sums = np.asarray(row_sums(batch, batch.values))
    np.testing.assert_allclose(sums, padded(matrix).sum(axis=1), rtol=1e-6)


def test_the_layer_adds_its_bias(matrix: sp.csr_matrix, batch: Batch) -> None:
    layer = SparseDense(
        N_ITEMS, 3, name="layer", kernel_initializer="glorot_uniform", bias_initializer="ones"
    )
    expected = padded(matrix) @ np.asarray(layer.kernel.value) + 1
    out = np.asarray(layer(batch, batch.values))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_a_dense_batch_gives_what_a_sparse_one_does(matrix: sp.csr_matrix, batch: Batch) -> None:
    dense = DenseBatch(padded(matrix), batch.is_user)
    random = np.random.default_rng(4)
    kernel = random.normal(size=(N_ITEMS, 5)).astype(np.float32)
    rows, items = (random.normal(size=(n, 5)).astype(np.float32) for n in (N_ROWS, N_ITEMS))
    logits = random.normal(size=(N_ROWS, N_ITEMS)).astype(np.float32)

    def of(each: Batch | DenseBatch) -> list[np.ndarray]:
        products = entry_products(each, rows, at_items(each, items))
        shares = each.values / at_rows(each, rows[:, 0])
        return [
            np.asarray(found)
            for found in (
                row_sums(each, each.values), sparse_matmul(each, each.values, kernel),
                dot_rows(each, logits), densify(each, each.values, N_ITEMS),
                row_sums(each, each.values * products), densify(each, shares, N_ITEMS),
            )
        ]  # fmt: skip

    for found, expected in zip(of(dense), of(batch), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
