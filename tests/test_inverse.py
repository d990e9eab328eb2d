"""The inverse of a positive definite matrix against NumPy's in float64."""

import numpy as np
import pytest

from recsweep import inverse, step_lines
from recsweep.inverse import negative_inverse


def positive_definite(n_rows: int) -> np.ndarray:
    random = np.random.default_rng(5)
    factor = random.normal(size=(2 * n_rows, n_rows))
    return factor.T @ factor / n_rows + np.eye(n_rows)


@pytest.mark.parametrize(("block", "strip"), [(512, 2048), (1, 1), (7, 10), (10, 7), (30, 100)])
@pytest.mark.parametrize("n_rows", [1, 30, 31, 64])
def test_the_upper_triangle_is_that_of_numpys_inverse(
    n_rows: int, block: int, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverse, "BLOCK", block)
    monkeypatch.setattr(inverse, "STRIP", strip)
    matrix = positive_definite(n_rows)
    inverted = matrix.astype(np.float32)
    inverted[np.tri(n_rows, k=-1, dtype=bool)] = np.nan  # below the diagonal nothing counts
    negative_inverse(inverted, "test")
    expected = np.triu(-np.linalg.inv(matrix))  # at most 1, since no eigenvalue is below 1
    np.testing.assert_allclose(np.triu(inverted), expected, atol=1e-6)  # 8 float32 steps


def test_two_rows_by_hand() -> None:
    # [[2, 1], [1, 2]]⁻¹ = [[2, −1], [−1, 2]] / 3
    matrix = np.array([[2, 1], [0, 2]], np.float32)
    negative_inverse(matrix, "test")
    np.testing.assert_allclose(matrix[[0, 0, 1], [0, 1, 1]], [-2 / 3, 1 / 3, -2 / 3], rtol=1e-6)


def test_many_blocks_are_as_exact_as_one() -> None:
    matrix = positive_definite(1_200)
    inverted = matrix.astype(np.float32)
    negative_inverse(inverted, "test")
    expected = np.triu(-np.linalg.inv(matrix))
    np.testing.assert_allclose(np.triu(inverted), expected, atol=2e-6)


@pytest.mark.parametrize("at", [0, 5, 19])
def test_a_negative_pivot_in_any_block_is_refused(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverse, "BLOCK", 4)
    matrix = np.eye(20, dtype=np.float32)
    for value in (-1, 0, np.nan):
        broken = matrix.copy()
        broken[at, at] = value
        with pytest.raises(np.linalg.LinAlgError):
            negative_inverse(broken, "test")


def test_a_long_one_says_how_far_it_is_and_a_short_one_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inverse, "BLOCK", 10)
    negative_inverse(np.eye(30, dtype=np.float32), "inverse of 30 items")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(step_lines, "LINE_EVERY_S", 0.0)
    negative_inverse(np.eye(30, dtype=np.float32), "inverse of 30 items")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", ")[0] for line in lines] == [
        "inverse of 30 items: 1 of 3 blocks", "inverse of 30 items: 2 of 3 blocks",
    ]  # fmt: skip
    assert all(line.endswith(" s left") for line in lines)
