"""Lists the studies of `sweep.folder` or `sweep.storage`, and how far each is."""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from recsweep.app import Job
from recsweep.errors import InputError
from recsweep.interfaces import STRICT

if TYPE_CHECKING:
    from recsweep.sweeps.study.status import Standing


@dataclass(kw_only=True, config=STRICT)
class ListStudies:
    """Show how far every study is."""

    def run(self, job: Job) -> None:
        """Print a line per study, also of one that cannot be read."""
        from recsweep.sweeps.reporting.tables import aligned  # loads Optuna
        from recsweep.sweeps.study.catalog import Studies

        studies = Studies.of(job.settings.sweep)
        names = studies.names
        width = max(map(len, [*names, "study"]))
        rows, damaged = [], []
        for name in names:
            try:
                rows.append([name.ljust(width), *_reached(studies.load(name)[1])])
            except InputError as error:
                damaged.append(f"{name.ljust(width)}  {error}")
        head = ["study".ljust(width), "done", "running", "pruned", "failed", "best", "last change"]
        lines = aligned(head, rows) if rows else []
        lines += damaged or ([] if rows else [f"no studies in {studies}"])
        lines += [
            f"{name}: its trials are in a database; add {setting}"
            for name, setting in studies.in_databases.items()
        ]
        print("\n".join(lines))  # noqa: T201


def _reached(standing: "Standing") -> list[str]:
    counts = [str(standing.count(state)) for state in ("running", "pruned", "failed")]
    front = standing.front
    best = standing.shown(front[0]) if standing.best else f"{len(front)} on the Pareto front"
    return [
        f"{standing.n_finished} of {standing.n_trials}",
        *counts,
        best if front else "",
        f"{standing.changed:%Y-%m-%d %H:%M}" if standing.changed else "",
    ]
