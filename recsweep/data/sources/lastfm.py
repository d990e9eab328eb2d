"""Last.fm of HetRec 2011: how often each user played each artist."""

from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from recsweep.data.formats import Layout
from recsweep.data.sources.hosted import HostedTable
from recsweep.data.sources.source import Counts, refuse_other_counts
from recsweep.data.table import read_table
from recsweep.interfaces import STRICT

LAYOUT = Layout("\t", None, "userID", "artistID", "weight", has_settings=False)


@dataclass(kw_only=True, config=STRICT)
class LastFM(HostedTable):
    """`user_artists.dat`: a header and `userID artistID weight` lines, separated by tabs.

    Args:
        counts: Users, artists and pairs as published; None = not checked.
    """

    counts: Counts | None

    def table(self, files: list[Path]) -> pd.DataFrame:
        """All rows."""
        table = read_table(files[0], LAYOUT)
        n_users, n_items = (table[column].nunique() for column in ("user", "item"))
        refuse_other_counts(self.name, self.counts, (n_users, n_items, len(table)))
        return table
