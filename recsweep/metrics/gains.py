"""Discounted cumulative gain, gains in {0, 1}, logarithm base 2 (Järvelin & Kekäläinen 2002)."""

import numpy as np
from jaxtyping import Bool, Float, Int


def running_gains(hits: Bool[np.ndarray, "users ranks"]) -> Float[np.ndarray, "users ranks"]:
    """Sum of 1/log2(r+1) over the ranks r of each user's hits, up to every rank.

    It is added up in rank order, exactly as the ideal is: a perfect list gives 1, not 1 + 2e-16,
    and a user's value does not depend on who else is in the batch, as with a matrix product.
    """
    return np.cumsum(hits * _discounts(hits.shape[1]), axis=1)


def ideal_gain(n_hits: Int[np.ndarray, " users"]) -> Float[np.ndarray, " users"]:
    """The gain of a list that opens with `n_hits` hits."""
    running_sum = np.cumsum(_discounts(int(n_hits.max(initial=1))))
    return running_sum[n_hits - 1]


def _discounts(n_ranks: int) -> Float[np.ndarray, " ranks"]:
    return 1 / np.log2(np.arange(2, n_ranks + 2))
