"""Products and chunks of a device's path, on JAX's CPU, against NumPy and the path of a CPU."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep import accelerator
from recsweep.data import gram
from recsweep.training import programs


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHUNK_USERS": 16, "ALIGNMENT": 8, "MIN_CAPACITY": 4}.items():
        monkeypatch.setattr(accelerator, name, value)


def counts(n_users: int, n_items: int, largest: int) -> sp.csr_matrix:
    random = np.random.default_rng(3)
    dense = random.integers(1, largest + 1, (n_users, n_items)).astype(np.float32)
    dense[random.random(dense.shape) < 0.7] = 0
    dense[5:9] = 0  # users without any
    return sp.csr_matrix(dense)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("n_users", [3, 16, 50])
@pytest.mark.parametrize("largest", [1, 256])
def test_a_gram_matrix_of_small_integers_is_exact(n_users: int, largest: int) -> None:
    train = counts(n_users, 21, largest)
    found = np.asarray(accelerator.gram_matrix(train))
    assert found.shape == (24, 24)
    dense = train.toarray().astype(np.float64)
    np.testing.assert_array_equal(found[:21, :21], dense.T @ dense)
    np.testing.assert_array_equal(np.triu(found[:21, :21]), np.triu(gram.gram_matrix(train)))
    assert not found[21:].any()
    assert not found[:, 21:].any()


@pytest.mark.parametrize(("is_exact", "given"), [(True, "bf16"), (False, "f32")])
def test_products_are_added_up_in_float32(is_exact: bool, given: str) -> None:
    matrix, chunk = np.zeros((8, 8), np.float32), accelerator.entries(counts(9, 8, 1), 0, 9, 1024)
    program = accelerator._gram_step(is_exact).lower(matrix, chunk).as_text()
    assert f"(tensor<8x9x{given}>, tensor<9x8x{given}>) -> tensor<8x8xf32>" in program


@pytest.mark.usefixtures("small_chunks")
def test_a_gram_matrix_of_other_values_has_the_precision_of_float32() -> None:
    train = counts(50, 21, 1)
    train.data += np.random.default_rng(0).random(train.nnz).astype(np.float32)
    dense = train.toarray().astype(np.float64)
    found = np.asarray(accelerator.gram_matrix(train))[:21, :21]
    np.testing.assert_allclose(found, dense.T @ dense, rtol=1e-6)  # sums of about 15 products


def test_cells_that_are_stored_twice_are_summed() -> None:
    cells = (np.array([200, 200, 1], np.float32), [1, 1, 0], [0, 3])
    train = sp.csr_matrix(cells, shape=(1, 2))
    found = np.asarray(accelerator.gram_matrix(train))[:2, :2]
    np.testing.assert_array_equal(found, [[1, 400], [400, 160_000]])
    assert train.nnz == 3, "the input is not changed"


def test_bfloat16_is_for_integers_whose_products_and_sums_are_exact() -> None:
    def is_exact(*rows: list[float]) -> bool:
        return accelerator.is_exact_in_bfloat16(sp.csr_matrix(np.array(rows, np.float32)))

    assert is_exact([256, -256])
    assert is_exact([0, 0])
    assert not is_exact([257, 1])
    assert not is_exact([-257, 1])
    assert not is_exact([0.5, 1])
    # 256² · 256 = 2²⁴ users' squares of one item, or of all items one user each
    assert not is_exact(*[[256.0, 0]] * 256)
    assert is_exact(*[[256.0, 0]] * 255, [0, 256])


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("capacity", [64, 128, 1024])
def test_entries_are_those_of_their_rows_only(capacity: int) -> None:
    train = counts(50, 7, 9)
    for start in range(0, 50, 16):
        sent = accelerator.entries(train, start, 16, capacity)
        assert {part.shape for part in sent[:2]} == {(capacity,)}
        dense = np.asarray(accelerator._dense(sent, 7, np.float32))
        expected = np.zeros((16, 7))
        expected[: min(16, 50 - start)] = train[start : start + 16].toarray()
        np.testing.assert_array_equal(dense, expected)


def test_rows_times_a_matrix() -> None:
    rows, matrix = counts(50, 21, 9), np.random.default_rng(1).random((21, 4), np.float32)
    np.testing.assert_allclose(accelerator.matmul(rows, matrix), rows @ matrix, rtol=1e-6)
    nothing = sp.csr_matrix((2, 21), dtype=np.float32)
    np.testing.assert_array_equal(accelerator.matmul(nothing, matrix), np.zeros((2, 4)))


def test_batches_of_about_as_many_entries_share_a_program() -> None:
    matrix = np.eye(22, dtype=np.float32)
    accelerator.matmul(counts(30, 22, 1), matrix)
    before = set(programs._PROGRAMS)
    accelerator.matmul(counts(30, 22, 1)[::-1] * 2, matrix)
    accelerator.matmul(sp.csr_matrix((30, 22), dtype=np.float32), matrix)
    assert set(programs._PROGRAMS) == before


def test_lengths_are_rounded_to_powers_of_two() -> None:
    lengths = [0, 1, 1023, 1024, 1025, 2048, 2049]
    rounded = [accelerator._rounded(length) for length in lengths]
    assert rounded == [1024] * 4 + [2048] * 2 + [4096]
