"""What a metric is: one file with one class, and one YAML in `conf/metrics` that names it.

Its definition is the first line of the class's docstring. It is logged with every run, because
libraries give different quantities the same name.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from recsweep.metrics.ranked_lists import RankedLists


class Metric:
    """A quality of ranked lists."""

    needs_catalog: ClassVar[bool] = False
    """Whether it must know items, catalogue or training data, which a file of lists does not."""

    is_better_if_larger: ClassVar[bool] = True
    """Whether validation may choose by it."""

    @property
    def definition(self) -> str:
        """What the metric means, in a sentence."""
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]


class UserMetric(Metric, ABC):
    """A metric of each user's list."""

    @abstractmethod
    def per_user(self, lists: RankedLists, k: int) -> Float[np.ndarray, " users"]:
        """One value per user.

        Args:
            lists: At least `k` ranks.
            k: Cut-off in items.
        """


class CatalogMetric(Metric, ABC):
    """A metric of all lists together."""

    needs_catalog = True

    @abstractmethod
    def of_catalog(self, lists: RankedLists, k: int) -> float:
        """One value.

        Args:
            lists: Of all users at once: the mean over batches would be another number.
            k: Cut-off in items.
        """
