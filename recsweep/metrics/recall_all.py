"""Recall, of all that was held out."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class RecallAll(UserMetric):
    """Number of hits in the top k, divided by n_relevant.

    The share of what the user wanted that was found: with more than `k` held-out items it cannot
    reach 1.

    Source:
        Recall as in information retrieval; trec_eval's `recall_k`.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.n_hits(k) / lists.n_relevant
