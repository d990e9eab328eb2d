"""Discounted cumulative gain, worked by hand."""

import numpy as np
import pytest

from recsweep.metrics.gains import ideal_gain, running_gains


def test_a_hit_is_worth_one_over_the_logarithm_of_its_rank_and_one() -> None:
    top = np.array([[True, False, True], [False, False, False]])
    # ranks 1 and 3: 1/log2(2) + 1/log2(4)
    assert running_gains(top).tolist() == [[1, 1, 1 + 1 / 2], [0, 0, 0]]


def test_the_ideal_opens_with_all_hits() -> None:
    assert ideal_gain(np.array([1, 3])) == pytest.approx([1, 1 + 1 / np.log2(3) + 1 / 2])
