"""Average precision; its mean over users is MAP."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class AveragePrecision(UserMetric):
    """Sum over hit ranks r <= k of (hits in the top r) / r, divided by min(k, n_relevant).

    Its mean over users is MAP@k. Every user can reach 1; trec_eval's `map_cut_k` divides by
    n_relevant instead and is lower beyond `k` held-out items.

    Source:
        McFee et al. 2012, The Million Song Dataset Challenge.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        top = lists.top_hits(k)
        precision = np.cumsum(top, axis=1) / np.arange(1, k + 1)
        return np.sum(precision, axis=1, where=top) / lists.n_reachable(k)
