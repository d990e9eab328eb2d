"""Downloads a data set and prepares its split, so that later runs need no network."""

from pydantic.dataclasses import dataclass

from recsweep.app import Job, describe_sizes, load_split
from recsweep.interfaces import STRICT
from recsweep.messages import print_to_stdout


@dataclass(kw_only=True, config=STRICT)
class Download:
    """Download the data set into the cache and prepare its split."""

    def run(self, job: Job) -> None:
        """Print the size of the split."""
        print_to_stdout(describe_sizes(job.settings, load_split(job.settings)))
