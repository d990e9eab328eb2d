"""Synthetic clicks with group structure and a long tail; no download needed."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.sources.source import TableSource
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Synthetic(TableSource):
    """Users and items belong to groups; a user clicks mostly on popular items of their group.

    Args:
        n_users: Users.
        n_items: Items.
        n_groups: Taste groups.
        mean_clicks: Mean clicks per user.
        affinity: How many times likelier an item of the user's own group is.
        popularity_exponent: The popularity of the item at rank r decays as r^−exponent.
        seed: The draw's seed.
    """

    n_users: Annotated[int, Field(ge=1)]
    n_items: Annotated[int, Field(ge=2)]
    n_groups: Annotated[int, Field(ge=1)]
    mean_clicks: Annotated[float, Field(gt=0)]
    affinity: Annotated[float, Field(ge=1)]
    popularity_exponent: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """No files: the table is generated."""
        if self.path is not None:
            raise InputError(
                f"data=synthetic is made up and reads no file, but data.path is {self.path}; leave "
                "it out, or read the file with data=csv"
            )
        return []

    def table(self, files: list[Path]) -> pd.DataFrame:  # noqa: ARG002 - nothing to read
        """The clicks, each with value 1, grouped by user."""
        random = np.random.default_rng(self.seed)
        user_group = random.integers(self.n_groups, size=self.n_users)
        item_group = random.permutation(np.arange(self.n_items) % self.n_groups)
        popularity = -self.popularity_exponent * np.log(np.arange(1, self.n_items + 1))
        n_clicks = np.clip(random.poisson(self.mean_clicks, self.n_users), 1, self.n_items // 2)
        is_own = item_group == np.arange(self.n_groups)[:, None]
        log_weights = popularity + np.where(is_own, np.log(self.affinity), 0.0)
        items = []
        for group, count in zip(user_group, n_clicks, strict=True):
            # Gumbel top-k: a weighted draw without replacement
            keys = log_weights[group] + random.gumbel(size=self.n_items)
            items.append(np.sort(np.argpartition(-keys, count - 1)[:count]))
        users = np.repeat(np.arange(self.n_users), n_clicks)
        return pd.DataFrame({"user": users, "item": np.concatenate(items), "value": 1.0})
