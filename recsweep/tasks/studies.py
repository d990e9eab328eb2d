"""Lists the studies of `sweep.folder` or `sweep.storage` with their progress."""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from recsweep.app import Job
from recsweep.errors import InputError
from recsweep.interfaces import STRICT
from recsweep.messages import align_columns, print_to_stdout

if TYPE_CHECKING:
    from recsweep.sweeps.study.status import StudyStatus


@dataclass(kw_only=True, config=STRICT)
class ListStudies:
    """Show the progress of every study."""

    def run(self, job: Job) -> None:
        """Print a line per study, including unreadable ones."""
        from recsweep.sweeps.study.catalog import StudyCatalog  # loads Optuna

        studies = StudyCatalog.of(job.settings.sweep)
        names = studies.names
        width = max(map(len, [*names, "study"]))
        rows, damaged = [], []
        for name in names:
            try:
                rows.append([name.ljust(width), *_reached(studies.load(name)[1])])
            except InputError as error:
                damaged.append(f"{name.ljust(width)}  {error}")
        head = ["study".ljust(width), "done", "running", "pruned", "failed", "best", "last change"]
        lines = align_columns(head, rows) if rows else []
        lines += damaged or ([] if rows else [f"no studies in {studies}"])
        lines += [
            f"{name}: its trials are in a database; add {setting}"
            for name, setting in studies.in_databases.items()
        ]
        print_to_stdout(*lines)


def _reached(status: "StudyStatus") -> list[str]:
    counts = [str(status.count(state)) for state in ("running", "pruned", "failed")]
    front = status.front
    best = status.format_row(front[0]) if status.best else f"{len(front)} on the Pareto front"
    return [
        f"{status.n_finished} of {status.n_trials}",
        *counts,
        best if front else "",
        f"{status.last_change:%Y-%m-%d %H:%M}" if status.last_change else "",
    ]
