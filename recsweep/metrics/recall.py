"""Recall, of what k items can hold."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Recall(UserMetric):
    """Number of hits in the top k, divided by min(k, n_relevant).

    The share of the hits that `k` items could have brought, so every user can reach 1.

    Source:
        Liang et al. 2018, Variational autoencoders for collaborative filtering.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.n_hits(k) / lists.n_reachable(k)
