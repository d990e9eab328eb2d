"""Reciprocal rank; its mean over users is MRR."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class ReciprocalRank(UserMetric):
    """One divided by the rank (1 = best) of the first hit in the top k, or 0 without a hit.

    Its mean over users is MRR@k.

    Source:
        Voorhees 1999, The TREC-8 question answering track report.
    """

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        top = lists.top_hits(k)
        return np.where(top.any(axis=1), 1 / (np.argmax(top, axis=1) + 1), 0.0)
