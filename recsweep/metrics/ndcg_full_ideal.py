"""NDCG whose ideal list is not cut."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.gains import ideal_gain
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class NDCGFullIdeal(UserMetric):
    """Sum of 1/log2(r+1) over hit ranks r <= k, divided by that sum over r = 1..n_relevant.

    The ideal list is as long as the user's held-out items and not cut at `k`. It equals NDCG up
    to `k` held-out items and is lower beyond, where it cannot reach 1.

    Source:
        Kakao's Jukebox exercise.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.discounted_gain(k) / ideal_gain(lists.n_relevant)
