"""Sparse products equal dense ones, whatever fills up the batch."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.training import sparse
from recsweep.training.batches import Batch, in_order
from recsweep.training.sparse import SparseDense, densify, dot_rows, row_sums, sparse_matmul

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


@pytest.mark.parametrize("bag_density", [0.0, 1e9])  # always dense, always a bag
def test_sparse_matmul_is_the_dense_product(
    matrix: sp.csr_matrix, batch: Batch, bag_density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "BAG_DENSITY", bag_density)
    kernel = np.random.default_rng(3).normal(size=(N_ITEMS, 4)).astype(np.float32)
    product = np.asarray(sparse_matmul(batch, batch.values, kernel))
    np.testing.assert_allclose(product, padded(matrix) @ kernel, rtol=1e-5, atol=1e-6)  # float32


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
