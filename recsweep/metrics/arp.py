"""Average recommendation popularity."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class AverageRecommendationPopularity(UserMetric):
    """Mean training interactions of the items in the top k.

    Higher = more popular items, so do not choose by it.

    Source:
        Yin et al. 2012, Challenging the long tail recommendation (popularity).
    """

    needs_catalog = True
    is_better_if_larger = False

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value of at least 0 per user."""
        return lists.mean_of_listed(lists.training_popularity(), k)
