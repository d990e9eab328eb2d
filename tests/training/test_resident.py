"""Rows come from the device as they are on the host, however they are kept there."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.training import resident
from recsweep.training.resident import DenseRows, SparseRows, n_rows_of, upload

N_USERS, N_ITEMS, WIDTH = 9, 11, 64


def matrix(scale: float = 1.0) -> sp.csr_matrix:
    random = np.random.default_rng(3)
    dense = (random.random((N_USERS, N_ITEMS)) < 0.4) * random.integers(1, 200, (N_USERS, N_ITEMS))
    dense[[0, 4]] = 0
    return sp.csr_matrix(dense.astype(np.float32) * np.float32(scale))


@pytest.mark.parametrize("scale", [1.0, 0.3, -1.0, 2.0])
@pytest.mark.parametrize(("limit", "kind"), [(1 << 30, DenseRows), (0, SparseRows)])
def test_rows_are_the_matrixs_and_the_one_past_the_last_is_empty(
    scale: float, limit: int, kind: type
) -> None:
    rows = upload(matrix(scale), WIDTH, limit)
    assert isinstance(rows, kind)
    assert n_rows_of(rows) == N_USERS
    wanted = np.array([3, 0, N_USERS, 3, 8])
    found = np.asarray(rows.take(wanted))
    expected = np.zeros((N_USERS + 1, WIDTH), np.float32)
    expected[:N_USERS, :N_ITEMS] = matrix(scale).toarray()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected[wanted])


def test_small_whole_numbers_take_a_byte_each() -> None:
    assert upload(matrix(), WIDTH, 1 << 30)[0].dtype == np.uint8
    assert upload(matrix(2.0), WIDTH, 1 << 30)[0].dtype == np.float32  # up to 398


def test_a_matrix_is_written_in_pieces_that_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.asarray(upload(matrix(), WIDTH, 1 << 30)[0])
    monkeypatch.setattr(resident, "CHUNK_BYTES", 4 * (WIDTH + 3 * 64) * 4)  # 4 of 10 rows
    np.testing.assert_array_equal(np.asarray(upload(matrix(), WIDTH, 1 << 30)[0]), whole)


def test_a_matrix_without_entries_is_resident_too() -> None:
    empty = sp.csr_matrix((4, N_ITEMS), dtype=np.float32)
    for limit in (0, 1 << 30):
        assert not np.asarray(upload(empty, WIDTH, limit).take(np.arange(5))).any()


@pytest.mark.extended
def test_threads_share_one_copy_which_goes_with_the_matrix() -> None:
    shared = matrix()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(resident.resident, shared, WIDTH) for _ in range(8)]
        copies = [future.result() for future in futures]
    assert len({id(copy) for copy in copies}) == 1
    assert resident.resident(shared, 2 * WIDTH) is not copies[0]
    gc.collect()  # copies of other tests' matrices
    n_before = len(resident._resident)
    del shared
    gc.collect()
    assert len(resident._resident) == n_before - 2
