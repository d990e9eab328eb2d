"""Writes a prepared split for other tools to read."""

from pydantic.dataclasses import dataclass

from recsweep.app import Job, load_split
from recsweep.interfaces import STRICT, HomePath


@dataclass(kw_only=True, config=STRICT)
class Export:
    """Write the prepared split as Liang et al.'s CSV files.

    Args:
        folder: A new or empty folder.
    """

    folder: HomePath

    def run(self, job: Job) -> None:
        """Print the files written."""
        from recsweep.data.sources.liang import write_liang
        from recsweep.files import refuse_folder, whole_folder

        folder = self.folder
        refuse_folder(folder, "task.folder")
        split = load_split(job.settings)
        with whole_folder(folder, "task.folder") as unfinished:
            files = write_liang(split, unfinished)
        for file in files:
            print(folder / file.name)  # noqa: T201
