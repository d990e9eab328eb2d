"""Base classes of data sources: files, a table, and filters."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.interfaces import STRICT, HomePath


@dataclass(kw_only=True, config=STRICT)
class Source(ABC):
    """A data set before it is split.

    Args:
        name: Its name in tables and in MLflow.
        path: A local file or folder; None = download, or no file needed.
    """

    has_shared_users: ClassVar[bool] = False
    """Whether a user may be in several parts of a loaded split (weak generalisation)."""

    name: str
    path: HomePath | None

    @abstractmethod
    def files(self, cache: Path) -> list[Path]:
        """The files to read, downloaded into `cache` if necessary."""

    @abstractmethod
    def load(self, files: list[Path]) -> Interactions | Split:
        """Read the files from `files`; a split is checked afterwards, see `recsweep.data.leaks`."""


@dataclass(kw_only=True, config=STRICT)
class TableSource(Source):
    """A source that is one table of user, item, value.

    Args:
        min_rating: Smallest value that counts as a click; None = every positive value.
        min_user_interactions: Users with fewer clicks are dropped, then items without any.
        n_heldout_users: Users in each held-out set of `split=strong`; None = a tenth.
    """

    min_rating: float | None
    min_user_interactions: Annotated[int, Field(ge=1)]
    n_heldout_users: Annotated[int, Field(ge=1)] | None

    @abstractmethod
    def table(self, files: list[Path]) -> pd.DataFrame:
        """Columns `user`, `item`, `value`, in the source's order.

        A column `timestamp`, of numbers that increase with time, is for splits by time.
        """

    def load(self, files: list[Path]) -> Interactions:
        """The clicks that pass the filters, with their values."""
        table = Interactions.from_table(self.table(files))
        return table.filtered(self.min_rating, self.min_user_interactions)
