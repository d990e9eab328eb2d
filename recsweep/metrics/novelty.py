"""Novelty."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Novelty(UserMetric):
    """Mean of 1 - (training users with the item) / (training users) over the top k.

    The expected popularity complement without discount by rank and without relevance, which
    accuracy measures.

    Source:
        Vargas & Castells 2011, Rank and relevance in novelty and diversity metrics, section 5.1.
    """

    needs_catalog = True

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        counts = lists.training_counts()
        return lists.mean_of_listed(1 - counts.of_items / counts.n_users, k)
