"""Share of the long tail."""

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import UserMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class LongTail(UserMetric):
    """Share of the top k outside the most popular items with 80% of the training interactions.

    These items, the short head, are the smallest set, most popular first and then by number, that
    has at least 80% of the training interactions.

    Source:
        Abdollahpouri et al. 2019, Managing popularity bias in recommender systems (APLT), with the
        short head of Abdollahpouri et al. 2017, Controlling popularity bias.
    """

    needs_catalog = True

    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value in [0, 1] per user."""
        return lists.mean_of_listed(_is_tail(lists.training_popularity()), k)


def _is_tail(popularity: Int[np.ndarray, " items"]) -> Bool[np.ndarray, " items"]:
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    is_tail = np.empty(len(popularity), np.bool_)
    is_tail[order] = 5 * before >= 4 * popularity.sum()  # whole numbers: no share is rounded
    return is_tail
