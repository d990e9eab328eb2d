"""What a metric is: one file with one class, and one YAML in `conf/metrics` that names it.

Its definition is the first line of the class's docstring. It is logged with every run, because
libraries give different quantities the same name.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from recsweep.errors import InputError
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


def finite_per_user(
    values: ArrayLike, users: "np.ndarray | pd.Index[Any]", name: str
) -> np.ndarray:
    """What a metric gives, as one float64 per user.

    Args:
        values: What `per_user` returned.
        users: Original ids, or rows.
        name: The metric's name in the configuration.

    Raises:
        InputError: There is not one finite value per user.
    """
    found = np.asarray(values, np.float64)
    if found.shape != (len(users),):
        raise InputError(
            f"metrics.{name} must give one value per user, {len(users):,}, but gives an array of "
            f"shape {found.shape}; fix its per_user method"
        )
    is_finite = np.isfinite(found)
    if not is_finite.all():
        row = int(is_finite.argmin())
        raise InputError(
            f"metrics.{name} must give finite values, but gives {found[row]} for user "
            f"{users[row]}; fix its per_user method"
        )
    return found


def finite_of_catalog(value: float, name: str) -> float:
    """What a metric of the catalogue gives, as a float; see `finite_per_user`."""
    if not math.isfinite(value):
        raise InputError(
            f"metrics.{name} must give a finite value, but gives {value}; fix its of_catalog method"
        )
    return float(value)
