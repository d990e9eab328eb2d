"""Entropy of what is recommended."""

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import CatalogMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Entropy(CatalogMetric):
    """Shannon entropy in bits of how often each item is in a top k: -sum of p log2 p.

    p is an item's share of all recommendations. 0 = one item alone, log2 of the catalogue's size =
    all equally often.

    Source:
        Shani & Gunawardana 2011, Evaluating recommendation systems, section 8.3.3.
    """

    def of_catalog(self, lists: RankedLists, k: int) -> float:
        """One value of at least 0; 0 without users."""
        counts = lists.times_listed(k)
        listed = counts[counts > 0]
        shares = listed / listed.sum()
        return float(np.abs(np.sum(shares * np.log2(shares))))
