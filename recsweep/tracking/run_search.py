"""Finds the runs to compare and downloads the files that are needed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from recsweep.errors import InputError
from recsweep.messages import alike, one_line, shorten, suggest
from recsweep.tracking.nested_runs import (
    KIND,
    PAGE,
    PARENT,
    STUDY,
    SUPERSEDED,
    TRIAL,
    is_result,
)
from recsweep.tracking.run_by_name import LATEST, find_existing, find_latest, refuse_deleted
from recsweep.tracking.store import USABLE, Store
from recsweep.tracking.ui_view import page_link, view_link

if TYPE_CHECKING:
    from mlflow.entities import Run

CONFIGURATIONS = "recsweep.test_configurations"
"""Tag of a sweep's run: the number of configurations scored on test."""


@dataclass(frozen=True)
class FoundRun:
    """A finished run that was scored on test.

    Args:
        run_id: Its id.
        study: The sweep that it is the winner of; None = a single run.
        n_configurations: Number of configurations of that study scored on test.
    """

    run_id: str
    study: str | None
    n_configurations: int


class RunFinder:
    """Looks for runs in a store.

    Args:
        store: The store of a tracker.
        experiment: Experiment in which names, filters and tags are looked up; ids work everywhere.
        setting: The setting that names runs, `task.of` or `task.run`, for messages.
        elsewhere: Names outside the store that the user may have meant.
    """

    def __init__(
        self, store: Store, experiment: str, setting: str, elsewhere: Sequence[str] = ()
    ) -> None:
        self.store = store
        self.experiment = experiment
        self.setting = setting
        self.elsewhere = elsewhere

    @property
    def is_absent(self) -> bool:
        """Whether the store does not exist yet."""
        return self.store.database is not None and not self.store.database.exists()

    def find(self, name: str) -> list[FoundRun]:
        """A run by id, a study's winner or runs by name, or the latest.

        Raises:
            InputError: There are none, or none was scored on test.
        """
        with self._opened():
            found = self._named(name)
            if not found:
                refuse_unknown(self.setting, name, [*self.elsewhere, *self._names()])
            return self._scored(found, f"{self.setting}={name}")

    def find_by_filter(self, condition: str) -> list[FoundRun]:
        """Runs that match an MLflow filter such as `params.seed = '1'`, without trials.

        Raises:
            InputError: The filter is invalid, no run matches, or none was scored on test.
        """
        from mlflow.exceptions import MlflowException

        with self._opened():
            try:
                found = list(self._runs(condition))
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                reason = shorten(one_line(error), 160)
                raise InputError(
                    f"task.filter must be a filter of MLflow, but is {condition} ({reason}); see "
                    "MLflow's documentation of search_runs"
                ) from error
            return self._scored(found, f"task.filter={condition}")

    def find_by_tag(self, tag: str) -> list[FoundRun]:
        """Runs with a tag such as `paper:yes`, without trials.

        Raises:
            InputError: It is not `key:value`, no run matches, or none was scored on test.
        """
        key, *values = re.split("[:=]", tag, maxsplit=1)  # Hydra needs = in values quoted twice
        if not (key and values):
            raise InputError(f"task.tag must be KEY:VALUE, but is {tag}; write task.tag=KEY:VALUE")
        with self._opened():  # compared here: MLflow's filters cannot escape quotes
            found = [run for run in self._runs() if run.data.tags.get(key) == values[0]]
            return self._scored(found, f"task.tag={tag}")

    def page(self, name: str | None) -> str:
        """The part after the UI's address in the URL of a run's page, or of a study's table.

        Args:
            name: A run's id, a study, a run's name or `latest`; None = the table of all runs.

        Raises:
            InputError: There is no such run, or the store has none yet.
        """
        with self._opened():
            experiment = self.store.client.get_experiment_by_name(self.experiment)
            if name is None:
                if experiment is None:
                    raise InputError(
                        "tracking.experiment must be one with runs, but the store has no "
                        f"{self.experiment}; train one, or set tracking.experiment or tracking.uri"
                    )
                return view_link(experiment.experiment_id)
            found = self._named(name)
            if not found:
                refuse_unknown(self.setting, name, [*self.elsewhere, *self._names()])
            return page_link(self.store.client, found[-1])

    def fetch(self, run_id: str, names: Iterable[str], folder: Path) -> None:
        """Download the given files, as far as a run has them.

        Args:
            run_id: The run's id.
            names: Names of files at the top of its artifacts.
            folder: An existing folder.
        """
        with self._opened():
            present = {entry.path for entry in self.store.client.list_artifacts(run_id)}
            for name in names:
                if name in present:
                    self.store.client.download_artifacts(run_id, name, str(folder))

    # --- in the store ---------------------------------------------------------------------------

    def _opened(self) -> AbstractContextManager[None]:
        folders = ", or give results folders: 'task.of=[FOLDER,FOLDER]'"
        self.store.refuse_absent(folders if self.setting == "task.of" else "")
        self.store.refuse_unusable()
        return self.store.errors_in_one_line(USABLE)

    def _named(self, name: str) -> "list[Run]":
        if name == LATEST:
            run_id = find_latest(self.store.client, self.experiment, self.setting).run_id
            newest = self.store.client.get_run(run_id)
            return [find_existing(self.store.client, newest.data.tags.get(PARENT, "")) or newest]
        run = find_existing(self.store.client, name)
        if run is not None:
            refuse_deleted(self.store.client, run, self.setting)
            return [run]
        runs = list(self._runs())
        of_study = [run for run in runs if run.data.tags.get(STUDY) == name and _is_sweep(run)]
        return of_study or [run for run in runs if run.info.run_name == name]

    def _runs(self, condition: str = "") -> "Iterator[Run]":
        """Runs of the experiment that are not deleted, oldest first."""
        found = self.store.client.get_experiment_by_name(self.experiment)
        token = None if found else ""
        while token != "":
            page = self.store.client.search_runs(
                [found.experiment_id], condition, max_results=PAGE, page_token=token,
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )  # fmt: skip
            yield from page
            token = page.token or ""

    def _scored(self, runs: "Sequence[Run]", asked: str) -> list[FoundRun]:
        """The runs that are results; a sweep is replaced by its winner's replicates."""
        if not runs:
            raise InputError(
                f"{asked} matches no run in experiment {self.experiment}; change it, or set "
                "tracking.experiment or tracking.uri"
            )
        wanted: dict[str, Run] = {}
        for run in runs:
            for one in self._winners(run) if _is_sweep(run) else [run]:
                if one.info.status == "FINISHED" and is_result(one):
                    wanted[one.info.run_id] = one
        if not wanted:
            states = ", ".join(sorted({_described(run) for run in runs}))
            raise InputError(
                f"{asked} matches no finished run that was scored on test, only {states}; wait "
                "for it, or give another one"
            )
        return [self._found(run) for run in wanted.values()]

    def _winners(self, parent: "Run") -> "list[Run]":
        """The replicates of the winner that was scored last."""
        condition = f"tags.`{PARENT}` = '{parent.info.run_id}' AND tags.`{KIND}` = 'winner'"
        found = [run for run in self._children(parent, condition) if run.info.status == "FINISHED"]
        return [run for run in found if run.data.tags.get(TRIAL) == found[-1].data.tags.get(TRIAL)]

    def _children(self, parent: "Run", condition: str) -> "Iterator[Run]":
        """Children of a run; few enough for one page."""
        yield from self.store.client.search_runs(
            [parent.info.experiment_id], condition, max_results=PAGE,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )  # fmt: skip

    def _found(self, run: "Run") -> FoundRun:
        tags = run.data.tags
        parent = find_existing(self.store.client, tags[PARENT]) if PARENT in tags else None
        n = parent.data.tags.get(CONFIGURATIONS, "1") if parent else "1"
        return FoundRun(run.info.run_id, tags.get(STUDY), int(n))

    def _names(self) -> set[str]:
        """Names of studies and runs, without trials."""
        runs = [run for run in self._runs() if is_result(run)]
        names = {run.info.run_name for run in runs} | {run.data.tags.get(STUDY) for run in runs}
        return {name for name in names if name}


def refuse_unknown(setting: str, name: str, known: Sequence[str]) -> NoReturn:
    """Raise an error for an unknown name, with suggestions.

    Args:
        setting: `task.of` or `task.run`.
        name: The name given by the user.
        known: Names of studies and runs.

    Raises:
        InputError: Always.
    """
    close = " or ".join(alike(name, sorted(known))[:3])
    hint = suggest(close, "see task=studies and task=ui")
    kinds = "studies, tracked runs or results folders"
    if setting != "task.of":
        kinds = "a study or a tracked run"
    raise InputError(f"{setting} must name {kinds}, but {name} is none; {hint}")


def _is_sweep(run: "Run") -> bool:
    return run.data.tags.get(KIND) == "sweep"


def _described(run: "Run") -> str:
    """A description such as `a run (RUNNING)`."""
    kind = {
        "sweep": "a sweep without a scored winner",
        "trial": "a trial of a sweep",
        SUPERSEDED: "a superseded run of a sweep",
    }
    return f"{kind.get(run.data.tags.get(KIND), 'a run')} ({run.info.status})"
