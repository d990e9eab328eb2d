"""Precision."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Precision(UserMetric):
    """Number of hits in the top k, divided by k.

    With fewer than `k` held-out items it cannot reach 1.

    Source:
        Precision as in information retrieval; trec_eval's `P_k`.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.n_hits(k) / k
