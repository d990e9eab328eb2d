"""CiteULike-a: which articles are in each user's library."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from recsweep.data.sources.hosted import HostedTable
from recsweep.data.sources.lightgcn import number_lists
from recsweep.data.sources.source import Counts, refuse_other_counts
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class CiteULike(HostedTable):
    """`users.dat`: line u, from 0, is user u's number of articles and the articles themselves.

    Args:
        counts: Users, articles and pairs as published; None = not checked.
    """

    counts: Counts | None

    def table(self, files: list[Path]) -> pd.DataFrame:
        """All pairs, each with value 1."""
        rows = list(number_lists(files[0], "a number of articles and the articles"))
        for user, row in enumerate(rows):
            if row[0] != len(row) - 1:
                raise InputError(
                    f"every line of {files[0]} must begin with its number of articles, but that of "
                    f"user {user:,} has {row[0]:,} and then {len(row) - 1:,}; fetch it again"
                )
        items = np.concatenate([np.empty(0, np.int64), *(row[1:] for row in rows)])
        users = np.repeat(np.arange(len(rows)), [len(row) - 1 for row in rows])
        n_items = len(np.unique(items))
        refuse_other_counts(self.name, self.counts, (len(rows), n_items, len(items)))
        return pd.DataFrame({"user": users, "item": items, "value": 1.0})
