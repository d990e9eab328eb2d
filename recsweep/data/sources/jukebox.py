"""Kakao's Jukebox exercise: how often each user played each song."""

from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from recsweep.data.formats import Layout
from recsweep.data.sources.source import TableSource
from recsweep.data.table import read_table
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

FILE = "listen_count.txt"
LAYOUT = Layout(" ", ("user", "song", "count"), "user", "song", "count", quoting="none")


@dataclass(kw_only=True, config=STRICT)
class Jukebox(TableSource):
    """`user song count` lines, separated by single spaces, without a header."""

    def files(self, cache: Path) -> list[Path]:  # noqa: ARG002 - nothing to download
        """The file at `path`, or the one in the folder at `path`."""
        if self.path is None:
            raise InputError(
                f"data=jukebox cannot be downloaded; give data.path=FOLDER that holds {FILE}, or "
                "the file"
            )
        return [self.path / FILE if self.path.is_dir() else self.path]

    def table(self, files: list[Path]) -> pd.DataFrame:
        """All rows."""
        return read_table(files[0], LAYOUT)
