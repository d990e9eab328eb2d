"""Writes a prepared split for other tools to read."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job, prepared
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Export:
    """Write the prepared split as Liang et al.'s CSV files.

    Args:
        folder: A new or empty one.
    """

    folder: Annotated[Path, Field(strict=False)]

    def run(self, job: Job) -> None:
        """Print what was written."""
        from recsweep.data.liang import write_liang
        from recsweep.persistence import refuse_folder, whole_folder

        folder = self.folder.expanduser()
        refuse_folder(folder, "task.folder")
        split = prepared(job.settings)
        with whole_folder(folder, "task.folder") as unfinished:
            files = write_liang(split, unfinished)
        for file in files:
            print(folder / file.name)  # noqa: T201
