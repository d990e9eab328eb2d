"""Models that learn a few arrays and nothing else."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.learned_arrays import LearnedArrays, sparse_arrays, sparse_matrix


def test_arrays_are_there_once_they_are_learned_or_restored() -> None:
    one, other = LearnedArrays(), LearnedArrays()
    for use in (one.state, lambda: one.learned):
        with pytest.raises(RuntimeError, match=r"must be fitted or restored first"):
            use()
    one.learned = {"totals": np.arange(3)}
    other.restore(one.state())
    assert other.learned["totals"].tolist() == [0, 1, 2]
    one.forget()
    with pytest.raises(RuntimeError, match=r"must be fitted or restored first"):
        one.state()
    assert other.learned["totals"].tolist() == [0, 1, 2], "another instance keeps its own"


class OnDevice:
    """An array elsewhere that counts its copies."""

    n_copies = 0

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        self.n_copies += 1
        return np.arange(3.0)


def test_arrays_of_a_device_are_copied_once_and_stay_there() -> None:
    one, array = LearnedArrays(), OnDevice()
    one.learned = {"totals": array}
    assert array.n_copies == 0
    one.restore(one.state())
    assert one.learned["totals"] is array
    assert one.state()["totals"].tolist() == [0, 1, 2]
    assert array.n_copies == 1


def test_a_changed_state_is_restored() -> None:
    one = LearnedArrays()
    one.learned = {"totals": np.arange(3)}
    state = one.state()
    state["totals"] = state["totals"] + 1
    one.restore(state)
    assert one.state()["totals"].tolist() == [1, 2, 3]
    one.learned = {"totals": np.arange(2)}
    assert one.state()["totals"].tolist() == [0, 1], "another fit has another state"


def test_kept_arrays_come_back_and_new_ones_are_left_alone() -> None:
    one, array = LearnedArrays(), OnDevice()
    one.learned = {"totals": array}
    one.keep()
    one.return_to_kept()
    assert one.learned["totals"] is array
    assert array.n_copies == 0, "a fit of one epoch copies nothing to the host"
    one.keep()
    one.learned = {"totals": np.arange(2)}
    one.return_to_kept()
    assert one.state()["totals"].tolist() == [0, 1, 2]
    one.learned = {"totals": np.arange(2)}
    one.return_to_kept()  # nothing has been kept since
    assert one.state()["totals"].tolist() == [0, 1]


def test_a_sparse_matrix_is_kept_as_arrays() -> None:
    matrix = sp.csr_matrix(np.array([[0, 2, 0], [1, 0, 3]], np.float32))
    arrays = sparse_arrays(matrix)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "data": [2, 1, 3], "indices": [1, 0, 2], "indptr": [0, 1, 3],
    }  # fmt: skip
    found = sparse_matrix({**arrays, "other": np.zeros(1)}, 3)
    np.testing.assert_array_equal(found.toarray(), matrix.toarray())
