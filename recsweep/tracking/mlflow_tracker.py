"""A run in MLflow: a single one, the parent of a sweep, or one of its trials."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT, Part, RunStatus, Verdict
from recsweep.messages import shorten
from recsweep.run_files import COMPARISON, PLOTS, SWEEP_PAGE, is_run
from recsweep.tracking.fault_tolerance import FaultTolerant, best_effort
from recsweep.tracking.nested_runs import (
    COMMAND,
    PARENT,
    REASON,
    STATE,
    STATES,
    TAG_CHARACTERS,
    adopt_or_create,
    child_tags,
    cut_tags,
    ending,
    forget_reason,
    is_superseded,
    missing_points,
    mlflow_status,
    oldest,
    origin,
    running_children,
    set_running,
    set_scheduled,
    supersede,
    supersede_all_but_newest,
)
from recsweep.tracking.run_by_name import NamedRun, find_existing, find_finished
from recsweep.tracking.store import ANSWERS, Store, mlflow_name, patience
from recsweep.tracking.system_metrics import system_metrics
from recsweep.tracking.ui_view import RUNS, share_view, view_link
from recsweep.tracking.write_buffer import Entry, Epoch, RunBuffer, log_batches

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

INTERRUPTED_S = 5
"""Timeout of a run that ends with an error: it must not hide the error for long."""


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
        self._has_replaced = True
        self._buffer = RunBuffer(self.store.uri, self._write_patiently, self.flush)
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

    def ui_command_of(self, run_id: str) -> str:
        """The command that opens the UI at an earlier run's page; empty if its database is away."""
        is_here = self.store.database is None or self.store.database.exists()
        return self.store.ui_command(run_id) if is_here else ""

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
            with self.store.open(self.experiment) as self._experiment_id:
                self._create({})
        self.mark_recovered()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush() if self._is_ended else self.end("FINISHED")
            return
        self.waits(0)
        with suppress(Exception), patience(0, INTERRUPTED_S):  # it must not hide the error
            self._flush(INTERRUPTED_S)
            if self.lost is None and not self._is_ended:
                self.end_at(*ending(error))

    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run now; leaving the context has no further effect.

        Args:
            status: Final status; whoever was interrupted waits for no server.
            reason: Why it did not finish, such as `pruned at epoch 7: …`; empty = it did.
        """
        if status == "KILLED":
            self.waits(0)
        self._end(status, reason)

    @best_effort
    def _end(self, status: RunStatus, reason: str) -> None:
        self.end_at(status, reason)

    def end_at(self, status: RunStatus, reason: str, at_ms: int | None = None) -> None:
        """The same at a given time; errors are raised."""
        self._is_ended = True
        tags = {REASON: reason} if reason else {}
        if self._child_tags and not (status == "KILLED" and self._is_superseded()):
            tags[STATE] = STATES[status]
        self._buffer.flush(Entry(tags=cut_tags(tags)))
        self._call("set_terminated", mlflow_status(status), at_ms)

    def _is_superseded(self) -> bool:
        """Whether another process runs the same part of the sweep, since this one was away."""
        with self.store.turn():
            return is_superseded(self.store.client.get_run(str(self.run_id)))

    def _create(self, tags: Mapping[str, str]) -> None:
        run = self.store.client.create_run(
            self._experiment_id, run_name=self.run_name, tags={**origin(), **tags}
        )
        self.run_id = run.info.run_id

    # --- sweeps ---------------------------------------------------------------------------------

    def open_sweep(
        self,
        study: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        known: str | None = None,
    ) -> None:
        """Resume the parent run of a study, or create it.

        With a database, other processes wait meanwhile; with a server, hold the study's mutex.

        Args:
            study: Name of the study.
            name: Name of a new run.
            params: Parameters of a new run; an existing one keeps its own, which cannot change.
            tags: Tags of a new run.
            known: Id of the run that the study names; another experiment gets a new one.
        """
        run = self._sweep(study, name, tags, known, is_parent=True)
        self.run_id, self._is_ended = run.info.run_id, False
        with self.store.errors_in_one_line(ANSWERS), patience(3, 10):
            self.log_missing(params)
        self.kept_in(Path(study))
        self.mark_recovered()

    def join_sweep(
        self, study: str, name: str, tags: Mapping[str, str], known: str | None = None
    ) -> None:
        """Find the parent run of a study, for workers without a parent, or create it.

        It is left as it is: a new one is scheduled until a parent opens it.

        Args:
            study: Name of the study.
            name: Name of a new run.
            tags: Tags of a new run.
            known: Id of the run that the study names.
        """
        run = self._sweep(study, name, tags, known, is_parent=False)
        self.run_id, self._experiment_id = run.info.run_id, run.info.experiment_id
        self.kept_in(Path(study))
        self.mark_recovered()

    def _sweep(
        self, study: str, name: str, tags: Mapping[str, str], known: str | None, *, is_parent: bool
    ) -> "Run":
        with self.store.open(self.experiment) as self._experiment_id:
            client, tags = self.store.client, {**origin(), **cut_tags(tags)}
            noted = find_existing(client, known) if known else None
            is_usable = (
                noted is not None
                and noted.info.lifecycle_stage != "deleted"
                and (not is_parent or noted.info.experiment_id == self._experiment_id)
            )
            run = adopt_or_create(
                client, self._experiment_id, study, name, tags, noted if is_usable else None
            )
            (set_running if is_parent else set_scheduled)(client, run)
        return run

    def fetch(self, run_id: str, folder: Path) -> bool:
        """Copy the files of a run into an existing folder.

        Args:
            run_id: Its id.
            folder: Gets the files.

        Returns:
            Whether the store has them.
        """
        try:
            with patience(3, 60):
                self.store.client.download_artifacts(run_id, "", str(folder))
        except Exception:  # noqa: BLE001 - whatever MLflow, SQLAlchemy or the disk says
            return False
        return is_run(folder)

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
            "all plots": self.link(f"{self.run_id}/artifacts/{PLOTS}/{SWEEP_PAGE}"),
        }

    @best_effort
    def log_curve(self, curve: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Log the points of a curve that the parent run lacks: a step keeps its first one.

        Args:
            curve: Step and metrics of each, the same metrics in all.
        """
        for step, metrics in missing_points(self.store.client, self.run_id, curve):
            self.log_metrics(metrics, step)
        self._buffer.flush()

    @best_effort
    def log_comparison(self, study: str, folder: Path) -> None:
        """Log the files of a comparison to the parent run of one of its studies.

        Args:
            study: Name of the study, whose sweep may have ended before.
            folder: Folder of the comparison.
        """
        with self.store.open(self.experiment) as experiment_id:
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
        child.waits(self.outage_timeout_s)
        child._child_tags = child_tags(str(parent_run_id), study, part)
        return child

    @best_effort
    def _join_sweep(self) -> None:
        """Create the run in its parent's experiment; the database already exists.

        Earlier runs of the trial are marked with the first write.
        """
        self._refuse_absent()
        with self.store.turn():
            parent = _sweep_of(self.store.uri, self._child_tags[PARENT])
            self.store.client, self._experiment_id, command = parent
            self._create({**self._child_tags, STATE: "running", COMMAND: command})
        self._has_replaced = False
        self._buffer.add(Entry())

    def tidy(self, study: str, verdict: Verdict) -> int:
        """End the runs that MLflow wrongly considers running; their trials keep one run each.

        Args:
            study: The study of the trials.
            verdict: Part of the sweep and run id -> status and reason; None = it is running.

        Returns:
            Number of ended runs.
        """
        ended = []
        for part, run_id in self._running(study) or ():
            if (ending := verdict(part, run_id)) and self._end_another(run_id, *ending):
                ended.append(part)
        for part in dict.fromkeys(ended):
            self._supersede_all_but_newest(study, part)
        return len(ended)

    @best_effort
    def _supersede_all_but_newest(self, study: str, part: Part) -> None:
        if experiment := self.store.client.get_experiment_by_name(self.experiment):
            where = experiment.experiment_id
            supersede_all_but_newest(self.store.client, where, study, part)

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

    def log_settings(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log parameters and tags, once; values too long for MLflow are truncated with …."""
        self._log(Entry(params=dict(params), tags=cut_tags(tags)))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log all metrics of an epoch; takes microseconds, as a thread writes them."""
        self._log(Entry(epochs=[(step, int(time.time() * 1000), dict(metrics))]))

    def log_epochs(self, epochs: Sequence[Epoch]) -> None:
        """Log metrics of several epochs now, whole epochs in each request; errors are raised."""
        self._write([Entry(epochs=epochs)])

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
        self._log(Entry(inputs=[DatasetInput(data, tags)]))

    @best_effort
    def log_artifacts(self, folder: Path, below: str = "") -> None:
        """Log all files of `folder` as artifacts, in the artifact folder `below`."""
        self._buffer.flush()
        self.store.client.log_artifacts(self.run_id, str(folder), below or None)

    def set_note(self, markdown: str) -> None:
        """Set the text on the run's page, replacing any previous one."""
        self._log(Entry(tags=cut_tags({"mlflow.note.content": markdown})))

    def flush(self) -> None:
        """Write everything that was logged; `lost` is set if the store is lost."""
        self._flush(None)

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
                self._write([Entry(params=missing)])
            except Exception:
                if len(self._missing(params)) == len(missing):
                    raise
            else:
                return

    def _missing(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = self.store.client.get_run(self.run_id).data.params
        return {name: value for name, value in params.items() if mlflow_name(name) not in kept}

    def _log(self, entry: Entry) -> None:
        """Buffer an entry, or write it at once if the store must answer."""
        if self.must_answer:
            with self.mirror():
                self._write([entry])
        elif self.lost is None:
            self._buffer.add(entry)

    @best_effort
    def _flush(self, wait_s: float | None) -> None:
        self._buffer.flush(wait_s=wait_s)

    def _write_patiently(self, entries: Sequence[Entry]) -> None:
        """The same; entries are kept while a server does not respond."""
        self.patiently(lambda: self._write(entries))

    def _write(self, entries: Sequence[Entry]) -> None:
        """Write entries in as few requests as possible; errors are raised."""
        if not self._has_replaced:
            run_id = str(self.run_id)
            with self.store.turn():
                supersede(self.store.client, self._experiment_id, self._child_tags, run_id)
        self._has_replaced = True
        if inputs := [each for entry in entries for each in entry.inputs]:
            self._log_inputs(inputs)
        for batch in log_batches(entries):
            self._call("log_batch", **batch)

    def _log_inputs(self, inputs: Sequence[Any]) -> None:
        """Log data sets; MLflow fails if another run logs the same new one at the same time."""
        from mlflow.exceptions import MlflowException

        try:
            self._call("log_inputs", inputs)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            self._call("log_inputs", inputs)  # now it is there

    def _call(self, method: str, *values: Any, **named: Any) -> None:
        """Call a method of the client for this run."""
        with self.store.turn():
            getattr(self.store.client, method)(self.run_id, *values, **named)


@lru_cache(maxsize=64)
def _sweep_of(uri: str, parent_run_id: str) -> "tuple[MlflowClient, str, str]":
    """Client, experiment and command of a sweep, which never change; read once per process."""
    client = Store(uri).client
    parent = client.get_run(parent_run_id)
    return client, parent.info.experiment_id, parent.data.tags.get(COMMAND, "")
