"""The backend: what it is called, and that a compiled function is the function."""

import os

import keras
import numpy as np
import scipy.sparse as sp

from recsweep.training import backend


def test_the_backend_is_the_one_that_was_asked_for() -> None:
    assert backend.name() == os.environ["KERAS_BACKEND"]


def test_a_compiled_function_gives_the_same_and_leaves_its_inputs() -> None:
    values = np.arange(4, dtype=np.float32)
    doubled = backend.compile_program(lambda x: x * 2)
    np.testing.assert_array_equal(np.asarray(doubled(values)), [0, 2, 4, 6])
    np.testing.assert_array_equal(values, [0, 1, 2, 3])


def test_a_matrix_in_compressed_rows_is_multiplied() -> None:
    rng = np.random.default_rng(0)
    cells = rng.random((5, 7), np.float32) * (rng.random((5, 7)) < 0.4)
    cells[2] = 0  # a row without entries
    matrix = sp.csr_matrix(cells)
    dense = rng.random((7, 3), np.float32)
    entries = matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    found = backend.csr_matmul(*map(keras.ops.convert_to_tensor, (*entries, dense)))
    np.testing.assert_allclose(np.asarray(found), matrix @ dense, rtol=1e-6)


def test_values_are_added_to_cells_also_twice_to_one() -> None:
    dense = keras.ops.reshape(keras.ops.arange(6, dtype="float32"), (2, 3))
    cells, values = np.int32([1, 5, 5]), np.float32([10, 20, 40])
    found = backend.add_at(dense, *map(keras.ops.convert_to_tensor, (cells, values)))
    np.testing.assert_array_equal(np.asarray(found), [[0, 11, 2], [3, 4, 65]])


def test_a_matrix_without_its_diagonal() -> None:
    found = backend.without_diagonal(keras.ops.reshape(keras.ops.arange(1.0, 10.0), (3, 3)))
    np.testing.assert_array_equal(np.asarray(found), [[0, 2, 3], [4, 0, 6], [7, 8, 0]])


def test_a_sum_of_squares_is_that_of_all_entries() -> None:
    assert float(backend.sum_of_squares(keras.ops.ones((2, 3)) * 2)) == 24
