"""Catalogue coverage."""

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT
from recsweep.metrics.metric import CatalogMetric
from recsweep.metrics.ranked_lists import RankedLists


@dataclass(kw_only=True, config=STRICT)
class Coverage(CatalogMetric):
    """Share of the n_items catalogue items that appear in at least one user's top k.

    It grows with the number of users, so compare it only between runs on the same ones.

    Source:
        Ge et al. 2010, Beyond accuracy (catalog coverage).
    """

    def of_catalog(self, lists: RankedLists, k: int) -> float:
        """One value in [0, 1]; 0 without users."""
        is_shown = np.zeros(lists.n_items, dtype=np.bool_)
        is_shown[lists.top_items(k)] = True
        return float(is_shown.mean())
