"""Models that learn a few arrays and nothing else."""

import numpy as np
import pytest

from recsweep.learned_arrays import LearnedArrays


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
