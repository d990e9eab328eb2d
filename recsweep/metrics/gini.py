"""Concentration of what is recommended."""

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import CatalogMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Gini(CatalogMetric):
    """Gini coefficient of how often each item is in a top k: sum of (2j - n - 1) p_j / (n - 1).

    p_j is the share of the j-th least often recommended of the n catalogue items among all
    recommendations. 0 = all are recommended equally often, 1 = one item alone: lower is more even,
    so do not choose by it.

    Source:
        Shani & Gunawardana 2011, Evaluating recommendation systems, section 8.3.3.
    """

    is_better_if_larger = False

    def of_catalog(self, lists: RankedLists, k: int) -> float:
        """One value in [0, 1]; 0 without users or with one item."""
        counts = np.sort(lists.times_listed(k))
        n_items, n_listed = len(counts), counts.sum()
        if n_items == 1 or n_listed == 0:
            return 0.0
        weights = 2 * np.arange(1, n_items + 1) - n_items - 1
        return float(weights @ counts / (n_listed * (n_items - 1)))
