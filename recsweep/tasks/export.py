"""Writes a prepared split for other tools to read."""

import logging
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from recsweep.app import Job, load_split
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stdout

if TYPE_CHECKING:
    from recsweep.data.split import Split

log = logging.getLogger(__name__)


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
        _warn_of_losses(split)
        with whole_folder(folder, "task.folder") as unfinished:
            files = write_liang(split, unfinished)
        for file in files:
            print_to_stdout(str(folder / file.name))


def _warn_of_losses(split: "Split") -> None:
    """Warn about what the files cannot hold, so that models may score differently on them."""
    unknown = [fold.n_unknown for fold in (split.valid, split.test) if fold.n_unknown is not None]
    if n_unknown := sum(int(of_users.sum()) for of_users in unknown):
        log.warning(
            "%s held-out interactions with items that training does not know are not written: "
            "the files do not count them as misses", f"{n_unknown:,}",
        )  # fmt: skip
    if any((matrix.data != 1).any() for matrix in split.matrices):
        log.warning("values are not written: in the files every interaction counts 1")
