"""Hit rate."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class HitRate(UserMetric):
    """1 if the top k contains at least one hit, else 0.

    Its mean over users is the share of users with a hit.

    Source:
        Deshpande & Karypis 2004, Item-based top-N recommendation algorithms.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return (lists.n_hits(k) > 0).astype(np.float64)
