"""Sparse matrices that keep an order, against arithmetic on the page."""

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.matrix import (
    find_repeated_pairs,
    fingerprint,
    from_pairs,
    keep_columns,
    keep_entries,
    matrix_arrays,
    pack_ids,
    unpack_ids,
)


def matrix_of(*pairs: tuple[int, int], shape: tuple[int, int] = (3, 4)) -> sp.csr_matrix:
    """Entry n of the pairs has the value n + 1."""
    rows, columns = (np.array(axis, int) for axis in zip(*pairs, strict=True))
    return from_pairs(rows, columns, np.arange(1.0, len(pairs) + 1), shape)


def entries(matrix: sp.csr_matrix) -> list[list[tuple[int, float]]]:
    """Column and value of each entry, row by row, in the order that they are stored in."""
    return [
        list(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        for row in (matrix[r] for r in range(matrix.shape[0]))
    ]


def test_entries_of_a_row_keep_the_order_that_they_come_in():
    matrix = matrix_of((2, 3), (0, 1), (2, 0), (0, 0))
    assert entries(matrix) == [[(1, 2.0), (0, 4.0)], [], [(3, 1.0), (0, 3.0)]]
    assert (matrix.data.dtype, matrix.indices.dtype) == (np.float32, np.int32)


def test_columns_are_kept_in_the_order_that_is_asked_for():
    matrix = matrix_of((0, 1), (0, 0), (0, 3), (1, 2), (2, 3))
    kept = keep_columns(matrix, np.array([3, 1]))  # column 3 becomes 0, column 1 becomes 1
    assert entries(kept) == [[(1, 1.0), (0, 3.0)], [], [(0, 5.0)]]
    assert kept.shape == (3, 2)


def test_marked_entries_are_kept_and_rows_may_become_empty():
    matrix = matrix_of((0, 1), (0, 0), (1, 2), (2, 3))
    kept = keep_entries(matrix, np.array([False, True, False, True]))
    assert entries(kept) == [[(0, 2.0)], [], [(3, 4.0)]]


def test_pairs_that_occur_more_than_once_are_found_once_each():
    matrix = matrix_of((2, 1), (0, 3), (2, 1), (0, 3), (0, 3), (1, 1))
    assert find_repeated_pairs(matrix).tolist() == [[0, 3], [2, 1]]
    assert find_repeated_pairs(matrix_of((0, 1), (1, 0))).tolist() == []


def test_a_fingerprint_is_the_checksum_of_types_shapes_and_contents():
    ones, text = np.ones(2, np.int8), np.array(["é"], object)
    expected = hashlib.sha256(b"|i1(2,)" + b"\x01\x01" + b"|O(1,)" + rb'["\u00e9"]').hexdigest()
    assert fingerprint(ones, text) == expected


@pytest.mark.parametrize(
    "other",
    [
        [np.array([1, 2, 4])],
        [np.array([1, 2, 3], np.int32)],
        [np.array([[1, 2, 3]])],
        [np.array([1, 2]), np.array([3])],
        [np.array(["1", "2", "3"], object)],
        [np.array([1, 2, 3]), np.array([], np.int64)],
    ],
    ids=["value", "type", "shape", "cut", "text", "empty"],
)
def test_fingerprints_tell_arrays_apart(other: list[np.ndarray]):
    assert fingerprint(*other) != fingerprint(np.array([1, 2, 3]))


def test_a_matrix_has_one_fingerprint_whatever_its_index_type():
    matrix = matrix_of((0, 1), (2, 0))
    wide = matrix.copy()
    wide.indptr, wide.indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    assert fingerprint(*matrix_arrays(wide)) == fingerprint(*matrix_arrays(matrix))


@pytest.mark.parametrize(
    "ids",
    [
        np.array([3, -1, 2**60]),
        np.array(["007", "", "a b", "é\n\0", "x" * 9], object),
        np.array([], object),
    ],
    ids=["numbers", "text", "none"],
)
def test_ids_are_packed_without_objects_and_come_back(ids: np.ndarray):
    packed = pack_ids(ids)
    assert packed.dtype != object
    assert unpack_ids(packed).tolist() == ids.tolist()
    assert unpack_ids(packed).dtype == ids.dtype
