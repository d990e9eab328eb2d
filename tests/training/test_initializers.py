"""Initial weights: their distribution, and that a seed decides them."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from recsweep.training.initializers import (
    Initializer,
    glorot_uniform,
    normal,
    truncated_normal,
)

STDDEV = 0.001


@pytest.mark.parametrize(
    ("initializer", "distribution"),
    [
        (glorot_uniform(0), stats.uniform(-0.1, 0.2)),  # sqrt(6 / (200 + 400)) = 0.1
        (normal(0, STDDEV), stats.norm(scale=STDDEV)),
        (truncated_normal(0, STDDEV), stats.truncnorm(-2, 2, scale=STDDEV)),
    ],
)
def test_weights_follow_their_distribution(initializer: Initializer, distribution: Any) -> None:
    weights = initializer((200, 400))
    assert weights.dtype == np.float32
    low, high = distribution.support()
    assert weights.min() >= np.float32(low)
    assert weights.max() <= np.float32(high)
    assert stats.kstest(weights.ravel(), distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize("make", [glorot_uniform, lambda seed: truncated_normal(seed, STDDEV)])
def test_the_seed_decides(make: type[Initializer]) -> None:
    assert (make(1)((3, 4)) == make(1)((3, 4))).all()
    assert (make(1)((3, 4)) != make(2)((3, 4))).any()
