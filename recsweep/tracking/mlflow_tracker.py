"""A run in MLflow: a single one, the parent of a sweep, or one of its trials."""

import getpass
import json
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT, Part, RunStatus, Verdict
from recsweep.messages import shorten, without_passwords
from recsweep.run_files import COMPARISON
from recsweep.shell import typed_arguments
from recsweep.tracking.fault_tolerance import FaultTolerant, best_effort
from recsweep.tracking.nested_runs import (
    COMMAND,
    PARENT,
    REASON,
    STATE,
    STATES,
    adopt_or_create,
    child_tags,
    forget_reason,
    is_superseded,
    mlflow_status,
    oldest,
    running_children,
    supersede,
)
from recsweep.tracking.run_by_name import NamedRun, find_finished
from recsweep.tracking.store import (
    ANSWERS,
    Store,
    mlflow_name,
    mlflow_value,
    patience,
)
from recsweep.tracking.system_metrics import system_metrics
from recsweep.tracking.ui_view import RUNS, share_view, view_link

PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 5000
METRICS_PER_CALL = 1000


@dataclass(kw_only=True, config=STRICT)
class MLflowTracker(FaultTolerant):
    """One MLflow run, written through a client; no global state.

    Args:
        uri: Tracking store; None = MLFLOW_TRACKING_URI, else mlflow.db in the current folder.
        experiment: Name of the experiment.
        run_name: Name of the run; None = the one given to `named`.
    """

    uri: str | None
    experiment: Annotated[str, Field(min_length=1)]
    run_name: Annotated[str, Field(min_length=1)] | None

    def __post_init__(self) -> None:
        FaultTolerant.__init__(self, Store(self.uri))
        self.run_id: str | None = None
        self._experiment_id = ""
        self._child_tags: dict[str, str] = {}
        self._is_ended = False
        self.views: dict[str, str] = {}

    def named(self, name: str) -> Self:
        """Set the run's name, unless the configuration has set one, and return the tracker."""
        self.run_name = self.run_name or name
        return self

    def link(self, run_id: str | None) -> str:
        """The part after the store's address in the URL of a run's page."""
        return f"#/experiments/{self._experiment_id}/runs/{run_id}?{RUNS}"

    @property
    def ui_command(self) -> str:
        """The command that opens the UI, and the link to the run."""
        links = [*self.views.values(), self.link(self.run_id)]
        return self.store.ui_command(str(self.run_id), *links)

    def refuse_unusable(self) -> None:
        """Check, before any long work, that the store is usable; creates no database.

        A sweep that has started continues even if its store is lost.

        Raises:
            InputError: It cannot be opened, or the server does not respond within seconds.
        """
        if not self._child_tags:
            self.store.refuse_unusable()

    # --- from its beginning to its end ----------------------------------------------------------

    def __enter__(self) -> Self:
        if self._child_tags:
            self._join_sweep()
        else:
            with self.store.opened(self.experiment) as self._experiment_id:
                self._create({})
        self.found_again()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_ended:
            return
        if error is None:
            self.end("FINISHED")
            return
        if self.lost is None:
            with suppress(Exception), patience(0, 5):  # it must not hide the error
                self.end_at(*_ending(error))

    @best_effort
    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run now; leaving the context has no further effect.

        Args:
            status: Final status.
            reason: Why it did not finish, such as `pruned at epoch 7: …`; empty = it did.
        """
        self.end_at(status, reason)

    def end_at(self, status: RunStatus, reason: str, at_ms: int | None = None) -> None:
        """The same at a given time; errors are raised."""
        self._is_ended = True
        if reason:
            self._call("set_tag", REASON, shorten(reason, TAG_CHARACTERS))
        if self._child_tags:
            self._call("set_tag", STATE, STATES[status])
        self._call("set_terminated", mlflow_status(status), at_ms)

    def _create(self, tags: Mapping[str, str]) -> None:
        run = self.store.client.create_run(
            self._experiment_id, run_name=self.run_name, tags={**origin(), **tags}
        )
        self.run_id = run.info.run_id

    # --- sweeps ---------------------------------------------------------------------------------

    def open_sweep(
        self, study: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Resume the parent run of a study, or create it.

        With a database, other processes wait meanwhile; with a server, hold the study's mutex.

        Args:
            study: Name of the study.
            name: Name of a new run.
            params: Parameters of a new run; an existing one keeps its own, which cannot change.
            tags: Tags of a new run.
        """
        with self.store.opened(self.experiment) as self._experiment_id:
            client, tags = self.store.client, {**origin(), **cut_tags(tags)}
            run = adopt_or_create(client, self._experiment_id, study, name, tags)
        self.run_id, self._is_ended = run.info.run_id, False
        with self.store.errors_in_one_line(ANSWERS), patience(3, 10):
            self.log_missing(params)
        self.kept_in(Path(study))
        self.found_again()

    @best_effort
    def share_view(
        self,
        study: str,
        params: Mapping[str, Sequence[Any]],
        metrics: Sequence[str],
        logarithms: Collection[str] = (),
    ) -> None:
        """Make the UI show the trials of a sweep best first; `views` has the links.

        Args:
            study: The sweep's study.
            params: Searched key -> the values tried so far.
            metrics: Columns, such as `valid_best_ndcg@100`; the first is the objective.
            logarithms: Searched keys whose decimal logarithms are parameters, too.
        """
        query = share_view(
            self.store.client, self._experiment_id, study, params, metrics, logarithms
        )
        self.views = {
            "trials, best first": view_link(self._experiment_id, query),
            "their curves": view_link(self._experiment_id, query, is_charts=True),
        }

    @best_effort
    def log_comparison(self, study: str, folder: Path) -> None:
        """Log the files of a comparison to the parent run of one of its studies.

        Args:
            study: Name of the study, whose sweep may have ended before.
            folder: Folder of the comparison.
        """
        with self.store.opened(self.experiment) as experiment_id:
            parent = oldest(self.store.client, experiment_id, study)
        if parent is not None:
            self.store.client.log_artifacts(parent.info.run_id, str(folder), COMPARISON)

    @best_effort
    def close_sweep(self, status: RunStatus, reason: str = "") -> None:
        """End the parent run, possibly again: another terminal may have ended it before.

        Args:
            status: FINISHED or KILLED.
            reason: Why it is not finished.
        """
        if not reason:
            forget_reason(self.store.client, self.store.client.get_run(self.run_id))
        self.end_at(status, reason)

    def nested(
        self, parent_run_id: str | None, study: str, part: Part, name: str
    ) -> "MLflowTracker":
        """A tracker for one trial of a sweep, or its winner; the run starts with the context.

        Args:
            parent_run_id: Run id of the sweep.
            study: The sweep's study.
            part: Which part of the sweep it is.
            name: Name of the run.
        """
        child = MLflowTracker(uri=self.uri, experiment=self.experiment, run_name=name)
        child.store = self.store
        child.kept_in(Path(self._kept_in or study))
        child._child_tags = child_tags(str(parent_run_id), study, part)
        return child

    @best_effort
    def _join_sweep(self) -> None:
        """Create the run in its parent's experiment; the database already exists."""
        self._refuse_absent()
        parent = self.store.client.get_run(self._child_tags[PARENT])
        self._experiment_id = parent.info.experiment_id
        command = parent.data.tags.get(COMMAND, "")  # not that of the worker
        self._create({**self._child_tags, STATE: "running", COMMAND: command})
        supersede(self.store.client, self._experiment_id, self._child_tags, str(self.run_id))

    def tidy(self, study: str, verdict: Verdict) -> int:
        """End the runs of trials that MLflow wrongly considers running.

        Args:
            study: The study of the trials.
            verdict: Part of the sweep and run id -> status and reason; None = it is running.

        Returns:
            Number of ended runs.
        """
        n_ended = 0
        for part, run_id in self._running(study) or ():
            if ending := verdict(part, run_id):
                n_ended += self._end_another(run_id, *ending) or 0
        return n_ended

    @best_effort
    def _running(self, study: str) -> list[tuple[Part, str]]:
        self._refuse_absent()
        experiment = self.store.client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        return running_children(self.store.client, experiment.experiment_id, study)

    @best_effort
    def _end_another(self, run_id: str, status: RunStatus, reason: str) -> int:
        client = self.store.client
        if reason:
            client.set_tag(run_id, REASON, shorten(reason, TAG_CHARACTERS))
        if not is_superseded(client.get_run(run_id)):
            client.set_tag(run_id, STATE, STATES[status])
        client.set_terminated(run_id, mlflow_status(status))
        return 1

    def _refuse_absent(self) -> None:
        """Raise if the database was deleted, as MLflow would create a new one."""
        if self.store.database is not None and not self.store.database.exists():
            raise FileNotFoundError(f"{self.store.database} does not exist")

    # --- what it holds --------------------------------------------------------------------------

    @best_effort
    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log parameters and tags, once; values too long for MLflow are truncated with …."""
        from mlflow.entities import RunTag

        self._log_params(params)
        self._call("log_batch", tags=[RunTag(*tag) for tag in cut_tags(tags).items()])

    @best_effort
    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log all metrics of an epoch in one call."""
        self.log_epochs([(step, int(time.time() * 1000), metrics)])

    def log_epochs(self, epochs: Sequence[tuple[int, int, Mapping[str, float]]]) -> None:
        """Log metrics of several epochs, whole epochs in each call.

        Args:
            epochs: Step, Unix time in milliseconds, and metrics of each epoch.
        """
        from mlflow.entities import Metric

        n_metrics = max([1, *(len(metrics) for _, _, metrics in epochs)])
        n_epochs = max(1, METRICS_PER_CALL // n_metrics)
        for start in range(0, len(epochs), n_epochs):
            entries = [
                Metric(mlflow_name(name), mlflow_value(name, value), at_ms, step)
                for step, at_ms, metrics in epochs[start : start + n_epochs]
                for name, value in metrics.items()
            ]
            self._call("log_batch", metrics=entries)

    @best_effort
    def log_data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Log the data set as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"name": name, "fingerprint": digest}),
            profile=json.dumps(dict(profile)),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        self._call("log_inputs", [DatasetInput(data, tags)])

    @best_effort
    def log_artifacts(self, folder: Path, below: str = "") -> None:
        """Log all files of `folder` as artifacts, in the artifact folder `below`."""
        self._call("log_artifacts", str(folder), below or None)

    @best_effort
    def set_note(self, markdown: str) -> None:
        """Set the text on the run's page, replacing any previous one."""
        self._call("set_tag", "mlflow.note.content", shorten(markdown, TAG_CHARACTERS))

    def monitored(self, is_on_gpu: Callable[[], bool | None]) -> AbstractContextManager[None]:
        """Log the machine's load while the block runs, unless the run is a part of a sweep.

        Args:
            is_on_gpu: Whether the run computes on a GPU; None = not yet known.
        """
        if self.run_id is None or self.lost is not None or self._child_tags:
            return nullcontext()
        return system_metrics(self.run_id, self.store.uri, is_on_gpu)

    def download(self, run: str, folder: Path) -> NamedRun:
        """Fetch the files of a finished run.

        Args:
            run: Its id, or, in this experiment, `latest` or the name of a study or a run.
            folder: An existing folder.

        Returns:
            The run.

        Raises:
            InputError: There is no such run, it did not finish, or it has no model.
        """
        self.store.refuse_absent(", or give task.run=FOLDER")
        self.refuse_unusable()
        with self.store.errors_in_one_line("name an MLflow store with readable runs and files"):
            found = find_finished(self.store.client, self.experiment, run)
            self.store.client.download_artifacts(found.run_id, "", str(folder))
        return found

    def log_missing(self, params: Mapping[str, Any]) -> None:
        """Log missing parameters: the run is new, or the process that created it was killed.

        MLflow refuses a call if another terminal logs the same parameter at the same time.
        """
        while missing := self._missing(params):
            try:
                self._log_params(missing)
            except Exception:
                if len(self._missing(params)) == len(missing):
                    raise
            else:
                return

    def _missing(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = self.store.client.get_run(self.run_id).data.params
        return {name: value for name, value in params.items() if mlflow_name(name) not in kept}

    def _log_params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entries = [
            Param(mlflow_name(name), shorten(str(value), PARAM_CHARACTERS))
            for name, value in params.items()
        ]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self._call("log_batch", params=entries[start : start + PARAMS_PER_CALL])

    def _call(self, method: str, *values: Any, **named: Any) -> None:
        """Call a method of the client for this run."""
        getattr(self.store.client, method)(self.run_id, *values, **named)


def cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags truncated to MLflow's limit."""
    return {name: shorten(value, TAG_CHARACTERS) for name, value in tags.items()}


def origin(command: str | None = None) -> dict[str, str]:
    """Who started the run and how, as tags that MLflow's UI shows.

    Args:
        command: Command such as `recsweep model=ease`; None = that of this process.
    """
    command = command or shlex.join(["recsweep", *without_passwords(typed_arguments())])
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "recsweep"}
    tags[COMMAND] = shorten(command, TAG_CHARACTERS)
    with suppress(KeyError, OSError, ImportError):  # a container without a user database
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _ending(error: BaseException) -> tuple[RunStatus, str]:
    """Final status of a run that ended with an error, and the reason."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", f"stopped by {str(error) or 'Ctrl-C'}"
    if isinstance(error, BrokenPipeError):
        return "KILLED", "stopped because the output is no longer read"
    return "FAILED", f"{type(error).__name__}: {error}"
