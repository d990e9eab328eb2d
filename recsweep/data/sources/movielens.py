"""MovieLens as released by GroupLens: 100K, 1M and 20M."""

import re
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.archive import extract_member, fetch_wheel_member
from recsweep.data.download import download
from recsweep.data.formats import Layout
from recsweep.data.sources.source import TableSource
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.files import disk_errors_in_one_line, file_sha256
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
        requirement: A requirement such as `name==1.0`.
        member: The file inside the wheel.
    """

    requirement: str
    member: str


@dataclass(kw_only=True, config=STRICT)
class MovieLens(TableSource):
    """One MovieLens release.

    Args:
        url: The official archive.
        sha256: The archive's checksum.
        member: The file with the ratings inside the archive.
        wheel: Where to get them if the official host does not answer; None = nowhere.
        n_ratings: Ratings in the release, to detect truncated files.
    """

    url: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    member: Annotated[str, Field(pattern=f"(^|/)({'|'.join(map(re.escape, LAYOUTS))})$")]
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
            if known.is_file():
                return [known]
        try:
            archive = download(self.url, folder / Path(self.url).name, sha256=self.sha256)
        except InputError:
            if self.wheel is None:
                raise
            return [fetch_wheel_member(self.wheel.requirement, self.wheel.member, second)]
        return [extract_member(archive, self.member, target)]

    def _local(self, path: Path, folder: Path) -> Path:
        """The ratings at `path`: the file, its folder, or the archive."""
        name = Path(self.member).name
        for file in (path, path / self.member, *(path / each for each in (name, *LAYOUTS))):
            if file.is_file():
                return self._unpacked(file, folder) if file.suffix in (".zip", ".whl") else file
        raise InputError(
            f"{name} not found in {path}; give data.path=FOLDER that holds it, or leave data.path "
            f"out to download it: python -m recsweep task=download data={self.name}"
        )

    def _unpacked(self, archive: Path, folder: Path) -> Path:
        """The ratings in a local archive, extracted once per archive content."""
        member = self.wheel.member if self.wheel and archive.suffix == ".whl" else self.member
        with disk_errors_in_one_line(archive, "data.path"):
            content = file_sha256(archive)[:16]
        return extract_member(archive, member, folder / content / Path(member).name)

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
