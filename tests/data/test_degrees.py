"""Degrees and normalised matrices by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.degrees import degree_powers, item_degrees, normalize
from recsweep.errors import InputError

# user 2 and item 2 have nothing
TRAIN = sp.csr_matrix(np.array([[1, 3, 0], [0, 1, 0], [0, 0, 0]], np.float32))


def test_a_degree_is_a_sum_of_values() -> None:
    assert item_degrees(TRAIN).tolist() == [1, 4, 0]


@pytest.mark.parametrize(
    ("user_exponent", "item_exponent", "expected"),
    [
        (0, 0, [[1, 3, 0], [0, 1, 0]]),
        (-1, 0, [[1 / 4, 3 / 4, 0], [0, 1, 0]]),
        (0, -1, [[1, 3 / 4, 0], [0, 1 / 4, 0]]),
        (-0.5, -0.5, [[1 / 2, 3 / 4, 0], [0, 1 / 2, 0]]),  # user 0: √4; items: √1 and √4
    ],
)
def test_values_are_scaled_by_powers_of_degrees(
    user_exponent: float, item_exponent: float, expected: list[list[float]]
) -> None:
    found = normalize(TRAIN, user_exponent, item_exponent)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), [*expected, [0, 0, 0]], rtol=1e-7)


def test_an_empty_history_has_no_degrees() -> None:
    nothing = sp.csr_matrix((1, 3), dtype=np.float32)
    assert item_degrees(nothing).dtype == np.float64
    assert normalize(nothing, -0.5, -0.5).toarray().tolist() == [[0, 0, 0]]


def test_nobodys_degree_stays_0() -> None:
    assert degree_powers(np.array([0.0, 4.0]), -0.5).tolist() == [0, 0.5]
    assert degree_powers(np.array([0.0, 4.0]), 0.0).tolist() == [0, 1]


def test_a_negative_value_is_refused() -> None:
    train = sp.csr_matrix(np.array([[1, -2.5]], np.float32))
    with pytest.raises(InputError, match=r"must not be negative, but one is -2\.5; set transform"):
        normalize(train, 0, 0)
