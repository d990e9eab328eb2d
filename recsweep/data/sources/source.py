"""Base classes of data sources: files, a table, and filters."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split
from recsweep.errors import InputError
from recsweep.files import no_file
from recsweep.interfaces import STRICT, HomePath


@dataclass(kw_only=True, config=STRICT)
class Source(ABC):
    """A data set before it is split.

    Args:
        name: Its name in tables and in MLflow.
        path: A local file or folder; None = download, or no file needed.
    """

    name: str
    path: HomePath | None

    @property
    def has_shared_users(self) -> bool:
        """Whether a user may be in several parts of a loaded split (weak generalisation)."""
        return False

    @abstractmethod
    def files(self, cache: Path) -> list[Path]:
        """The files to read, downloaded into `cache` if necessary."""

    @abstractmethod
    def load(self, files: list[Path]) -> Interactions | Split:
        """Read the files from `files`; a split is checked afterwards, see `recsweep.data.leaks`."""


def files_of_folder(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files that a folder must have.

    Raises:
        InputError: One is not there, or is something else.
    """
    files = [folder / name for name in names]
    for file in files:
        if not file.is_file():
            is_absent = no_file(file) == "is not there"
            found = f"not found in {folder}" if is_absent else f"in {folder} {no_file(file)}"
            raise InputError(
                f"data.path must be a folder with {', '.join(names)}, but {file.name} {found}; "
                "give the folder that holds them"
            )
    return files


Counts = Annotated[list[Annotated[int, Field(ge=1)] | None], Field(min_length=3, max_length=3)]
"""Users, items and interactions of a data set as published; None = one is not checked."""
COUNTED = ("users", "items", "interactions")


def refuse_other_counts(name: str, expected: Counts | None, found: Sequence[int]) -> None:
    """Refuse data that are not as many as published; None = nothing is expected.

    Raises:
        InputError: A number differs.
    """
    if expected is None:
        return
    if any(must not in (None, n) for must, n in zip(expected, found, strict=True)):
        must, has = (_in_words(expected, of) for of in (expected, found))
        raise InputError(
            f"{name} must have {must}, but the files have {has}, so they are damaged or another "
            "version; fetch them again, or set data.counts=null to use them as they are"
        )


def _in_words(expected: Counts, numbers: Sequence[int | None]) -> str:
    """Those numbers of which some are expected."""
    parts = [
        f"{n:,} {what}"
        for n, what, is_checked in zip(numbers, COUNTED, expected, strict=True)
        if is_checked
    ]
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


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
        return table.filter(self.min_rating, self.min_user_interactions)
