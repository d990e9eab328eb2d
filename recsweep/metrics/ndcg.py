"""Normalised discounted cumulative gain."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.gains import ideal_gain
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class NDCG(UserMetric):
    """Sum of 1/log2(r+1) over hit ranks r <= k, divided by that sum over r = 1..min(k, n_relevant).

    A list is compared with the best list of `k` items that user could have had, so someone with
    two held-out items reaches 1 with two hits at the top, and someone with a thousand reaches 1
    with `k` hits.

    Source:
        Järvelin & Kekäläinen 2002, gains in {0, 1}, logarithm base 2.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.discounted_gain(k) / ideal_gain(lists.n_reachable(k))
