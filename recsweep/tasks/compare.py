"""Compares finished runs and the winners of sweeps: a table with intervals and corrected tests."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job, Settings, build_group, sweep_folder
from recsweep.comparison.contenders import group_runs
from recsweep.comparison.rendering import write_comparison
from recsweep.comparison.statistics import Statistics
from recsweep.errors import InputError
from recsweep.files import expand_user, refuse_folder, whole_folder
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import print_to_stderr, print_to_stdout
from recsweep.run_files import COMPARISON_PAGE, is_run, is_study, summary_file
from recsweep.runs.past_run import objective_of
from recsweep.runs.scored_run import NEEDED, ScoredRun, read_run, read_study
from recsweep.tracking import LATEST
from recsweep.tracking.run_search import FoundRun, RunFinder, refuse_unknown

_Names = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(lambda entry: [entry] if isinstance(entry, str) else entry),
]


@dataclass(kw_only=True, config=STRICT)
class Compare(Statistics):
    """Print the table, and write it and its page to a folder.

    Args:
        of: Studies, MLflow run ids or run names, results folders.
        filter: An MLflow filter on the runs of `tracking.experiment`.
        tag: A tag of runs of `tracking.experiment`, as `KEY:VALUE`.
        output: A new or empty folder.
    """

    of: _Names
    filter: Annotated[str, Field(min_length=1)] | None
    tag: Annotated[str, Field(min_length=1)] | None
    output: HomePath

    def __post_init__(self) -> None:
        given = [self.of or None, self.filter, self.tag]
        if sum(entry is not None for entry in given) > 1:
            raise InputError(
                "task.of, task.filter and task.tag exclude each other, but several are given; "
                "give one"
            )

    def run(self, job: Job) -> None:
        """Print the table and the path of the page."""
        output = self.output.absolute()
        refuse_folder(output, "task.output")
        contenders = group_runs(list(self._runs(job.settings)), job.trusted)
        with whole_folder(output, "task.output") as unfinished:
            text = write_comparison(contenders, unfinished, self)
        print_to_stdout(*text.split("\n"), "", f"page      {output / COMPARISON_PAGE}")

    def _runs(self, settings: Settings) -> Iterator[ScoredRun]:
        """All runs to compare."""
        if self.filter is not None:
            finder = _finder(settings, "task.filter")
            yield from _fetched(finder, finder.find_by_filter(self.filter))
        elif self.tag is not None:
            finder = _finder(settings, "task.tag")
            yield from _fetched(finder, finder.find_by_tag(self.tag))
        elif not self.of:
            raise InputError(
                "task.of must name what is to be compared, but is empty; give studies, runs or "
                "results folders, 'task.of=[a,b]', or task.filter or task.tag"
            )
        for entry in self.of:
            yield from _meant(entry, settings)


def _meant(entry: str, settings: Settings) -> Iterator[ScoredRun]:
    """The runs of one entry; folders are tried first, since they need no store."""
    folder, sweeps = expand_user(entry), sweep_folder(settings)
    if is_run(folder):
        yield read_run(folder, entry)
    elif is_study(sweeps / entry):
        yield from _of_study(sweeps / entry, settings)
    elif is_study(folder):
        yield from _of_study(folder, settings)
    else:
        studies = [path.name for path in sweeps.glob("*") if is_study(path)]
        finder = _finder(settings, f"task.of={entry}", studies)
        if finder.is_absent:
            refuse_unknown("task.of", entry, studies)
        runs = list(_fetched(finder, finder.find(entry)))
        if entry == LATEST:
            _tell_latest(runs[0])
        yield from runs


def _tell_latest(run: ScoredRun) -> None:
    """Print on stderr which run it is."""
    objective = objective_of(run.config, {"test": {"mean": list(run.per_user)}})
    what = f"the winner of study {run.study}" if run.study else f"run {run.place}"
    score = ""  # catalogue metrics have no per-user values
    if objective in run.per_user:
        score = f", {objective} {run.per_user[objective].mean():.4f} on test"
    print_to_stderr(f"task.of={LATEST} is {what}: {run.model}{score}")


def _of_study(folder: Path, settings: Settings) -> list[ScoredRun]:
    """The winner's replicates; an unfinished sweep raises an error with its progress."""
    if summary_file(folder).is_file():
        return read_study(folder)
    from recsweep.sweeps.reporting.tables import counts_line  # loads Optuna
    from recsweep.sweeps.study.catalog import StudyCatalog

    _, status = StudyCatalog.of({**settings.sweep, "folder": str(folder.parent)}).load(folder.name)
    raise InputError(
        f"study {folder.name} is not finished: {counts_line(status)}; resume it with the command "
        "that started it"
    )


def _finder(settings: Settings, asked: str, studies: Sequence[str] = ()) -> RunFinder:
    """A finder of runs in the store of `tracking`."""
    tracker = build_group(settings, "tracking", "log_metrics")
    if tracker.store is None:
        raise InputError(
            f"{asked} must be found among tracked runs, but tracking is off; give results folders, "
            "'task.of=[FOLDER,FOLDER]', or choose tracking=mlflow"
        )
    return RunFinder(tracker.store, tracker.experiment, "task.of", studies)


def _fetched(finder: RunFinder, runs: Sequence[FoundRun]) -> Iterator[ScoredRun]:
    for run in runs:
        with TemporaryDirectory(prefix="recsweep-") as folder:
            results = Path(folder)
            finder.fetch(run.run_id, NEEDED, results)
            yield read_run(results, run.run_id, run.study, run.n_configurations)
