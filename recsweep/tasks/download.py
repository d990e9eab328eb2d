"""Fetches a data set and prepares its split, so that later runs need no network."""

from pydantic.dataclasses import dataclass

from recsweep.app import Job, describe_sizes, load_split
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Download:
    """Fetch the data set into the cache and prepare its split."""

    def run(self, job: Job) -> None:
        """Print how large the split is."""
        print(describe_sizes(job.settings, load_split(job.settings)))  # noqa: T201
