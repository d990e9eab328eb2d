"""Fetches a data set and prepares its split, so that later runs need no network."""

from pydantic.dataclasses import dataclass

from recsweep.app import Job, prepared, sizes
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Download:
    """Fetch the data set into the cache and prepare its split."""

    def run(self, job: Job) -> None:
        """Print how large the split is."""
        print(sizes(job.settings, prepared(job.settings)))  # noqa: T201
