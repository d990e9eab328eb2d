"""Uploads runs from files to MLflow: only what is missing there.

A folder may name any run as its own. That run is completed only if what it has is what the folder
says, and nothing that it has is replaced. Only the run of a whole sweep changes, as sweeps resume.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from time import time
from typing import TYPE_CHECKING, Any, Literal

from recsweep.interfaces import RunStatus
from recsweep.messages import shorten
from recsweep.tracking.mlflow_tracker import MLflowTracker
from recsweep.tracking.nested_runs import (
    KIND,
    PARENT,
    STATE,
    STATES,
    STUDY,
    cut_tags,
    forget_reason,
    mlflow_status,
    origin,
    parents,
    supersede,
)
from recsweep.tracking.run_by_name import find_existing
from recsweep.tracking.store import mlflow_name, mlflow_value, patience
from recsweep.tracking.write_buffer import PARAM_CHARACTERS

if TYPE_CHECKING:
    from mlflow.entities import Run

UPLOADED, RECORD = "recsweep.uploaded", "recsweep.record"
Upload = Literal["new", "completed", "there"]
"""Result of an upload: MLflow had no such run, a part of it, or all of it."""

Epoch = tuple[int, Mapping[str, float]]
"""Step and metrics."""
OF_HOST = ("cache_dir", "debug", "hydra", "sweep", "threads", "tracking")
"""Groups and settings in which the hosts of one sweep may differ."""
FINGERPRINT = ".fingerprint"
"""End of the names of tags that say what data a run was trained on."""
SECONDS = ("epoch_s", "evaluate_s")
"""Metrics that say how long an epoch took."""


@dataclass(frozen=True)
class Record:
    """A run, read from its files.

    Args:
        name: Name of the run.
        run_id: Its id in MLflow, if it was tracked; None = it was not.
        status: How it ended.
        reason: Why it did not finish.
        began: Start time in Unix seconds.
        ended: End time in Unix seconds.
        params: Logged parameters.
        tags: Tags about its environment.
        marks: Tags of the sweep that it belongs to, such as `recsweep.study`.
        data: Name, fingerprint and profile of the data set; None = unknown.
        curves: Metrics by epoch.
        final: Metrics logged at the end.
        files: Artifact folder, such as the topmost "" -> folder with its files.
        note: Note on its page; None = it has none.
        command: The command that started it, such as `recsweep model=ease`.
    """

    name: str
    run_id: str | None
    status: RunStatus
    reason: str
    began: float | None
    ended: float | None
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    marks: Mapping[str, str]
    data: tuple[str, str, Mapping[str, int]] | None
    curves: Sequence[Epoch]
    final: Epoch
    files: Mapping[str, Path]
    note: str | None
    command: str

    @property
    def key(self) -> str:
        """A hash that identifies the run, wherever its folder is."""
        content = [self.params, self.tags, self.marks, self.curves, self.final]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def is_sweep(self) -> bool:
        """Whether it is the run of a whole sweep, which may have gone on since it was logged."""
        return self.marks.get(KIND) == "sweep"

    @property
    def fixed_params(self) -> dict[str, str]:
        """Parameters as MLflow has them, but those that change when a sweep resumes elsewhere."""
        return {
            mlflow_name(name): shorten(str(value), PARAM_CHARACTERS)
            for name, value in self.params.items()
            if not _is_of_host(name)
            and (not self.is_sweep or name.startswith(("config.", "fingerprint.")))
        }


def _is_of_host(param: str) -> bool:
    """Whether the hosts of one sweep may differ in a parameter."""
    key = param.removeprefix("config.")
    return key.endswith(".path") or key == "data.url" or key.partition(".")[0] in OF_HOST


class Uploader:
    """Uploads runs to one experiment.

    Args:
        tracker: Tracker of that experiment, not yet opened.

    Raises:
        InputError: The store cannot be used.
    """

    def __init__(self, tracker: MLflowTracker) -> None:
        self.tracker = tracker
        self._new: set[str] = set()
        tracker.must_answer = True
        tracker.store.advice = "check it and re-run the same command"
        tracker.refuse_unusable()
        with tracker.store.open(tracker.experiment) as self.experiment:
            self.client = tracker.store.client

    def upload(self, record: Record) -> Upload:
        """Upload whatever MLflow lacks of a run.

        Raises:
            InputError: The store does not respond; another upload resumes from there.
        """
        with self.tracker.mirror(), patience(3, 120):
            run = self._found(record)
            is_whole = run is not None and self._is_whole(run, record)
            run = run or self._created(record)
            if PARENT in record.marks:
                where, run_id = run.info.experiment_id, run.info.run_id
                supersede(self.client, where, record.marks, run_id)
            if is_whole:
                return "there"
            self._log(run, record)
            return "new" if run.info.run_id in self._new else "completed"

    def begin(self, record: Record) -> str:
        """The id of a parent run; a new one still has to be uploaded.

        Raises:
            InputError: The store does not respond.
        """
        with self.tracker.mirror(), patience(3, 120):
            return str((self._found(record) or self._created(record)).info.run_id)

    def share_view(
        self,
        run_id: str,
        study: str,
        params: Mapping[str, Sequence[Any]],
        metrics: Sequence[str],
        logarithms: Collection[str],
    ) -> dict[str, str]:
        """Make the UI show the study's trials best first, see `MLflowTracker.share_view`.

        Args:
            run_id: The sweep's own run; the rest is passed on.
            study: Name of the study.
            params: Searched keys.
            metrics: Columns.
            logarithms: Keys on a logarithmic scale.

        Returns:
            Title -> link of the UI.
        """
        with self.tracker.mirror():
            self.tracker.run_id, self.tracker._experiment_id = run_id, self.experiment
            self.tracker.share_view(study, params, metrics, logarithms)
        return self.tracker.views

    def page(self, record: Record) -> str:
        """The command that opens the UI, and the link to an uploaded run."""
        with self.tracker.mirror():
            self._is_meant(self._found(record))
        return self.tracker.ui_command

    def _is_meant(self, run: "Run") -> None:
        """Point the tracker at this run."""
        self.tracker.run_id = run.info.run_id
        self.tracker._experiment_id = run.info.experiment_id

    def _found(self, record: Record) -> "Run | None":
        """The record's run in MLflow, complete or not; None if there is none."""
        run = find_existing(self.client, record.run_id) if record.run_id else None
        if run is not None and run.info.lifecycle_stage != "deleted" and self._agrees(run, record):
            return run
        if record.is_sweep:
            known = parents(self.client, self.experiment, record.marks[STUDY])
            return next((each for each in known if self._agrees(each, record)), None)
        same = f"tags.`{RECORD}` = '{record.key}'"
        return next(iter(self.client.search_runs([self.experiment], same, max_results=1)), None)

    def _agrees(self, run: "Run", record: Record) -> bool:
        """Whether all that a run has, as far as it has any, is what the record says."""
        tags = {name: text for name, text in record.tags.items() if name.endswith(FINGERPRINT)}
        tags |= {name: text for name, text in record.marks.items() if name == STUDY}
        pairs = [(run.data.params, record.fixed_params), (run.data.tags, cut_tags(tags))]
        is_same = all(own.get(n, text) == text for there, own in pairs for n, text in there.items())
        if not is_same or record.is_sweep:
            return is_same
        final = {mlflow_name(name) for name in self._missing_final(run, record)}
        curves = {(step, (name := _first(each))): each[name] for step, each in record.curves}
        points = self._points(run, record).items()
        return final.isdisjoint(run.data.metrics) and all(
            _is_same(there, curves.get(point, there)) for point, there in points
        )

    def _is_whole(self, run: "Run", record: Record) -> bool:
        """Whether nothing is missing in MLflow."""
        return (
            run.info.status == mlflow_status(record.status)
            and {mlflow_name(name) for name in record.params} <= set(run.data.params)
            and not self._missing_final(run, record)
            and not self._missing_epochs(run, record)
            and not self._missing_files(run, record)
        )

    def _missing_final(self, run: "Run", record: Record) -> dict[str, float]:
        """Final metrics that are missing or, in the run of a resumed sweep, outdated."""
        there = run.data.metrics
        return {
            name: value
            for name, value in record.final[1].items()
            if not _is_same(there.get(mlflow_name(name)), mlflow_value(name, value))
        }

    def _missing_epochs(self, run: "Run", record: Record) -> list[Epoch]:
        there = self._points(run, record)
        return [epoch for epoch in record.curves if (epoch[0], _first(epoch[1])) not in there]

    def _points(self, run: "Run", record: Record) -> dict[tuple[int, str], float]:
        """Epochs are logged as a whole, so one metric of each tells which are there."""
        return {
            (entry.step, name): entry.value
            for name in {_first(metrics) for _, metrics in record.curves}
            for entry in self.client.get_metric_history(run.info.run_id, mlflow_name(name))
        }

    def _missing_files(self, run: "Run", record: Record) -> list[tuple[Path, str]]:
        """Files that are missing, each with its artifact folder."""
        missing = []
        for below, top in record.files.items():
            for folder in (top, *sorted(path for path in top.rglob("*") if path.is_dir())):
                place = PurePosixPath(below, folder.relative_to(top)).as_posix()
                place = "" if place == "." else place
                listed = self.client.list_artifacts(run.info.run_id, place or None)
                there = {Path(artifact.path).name for artifact in listed}
                files = sorted(file for file in folder.iterdir() if not file.is_dir())
                missing += [(file, place) for file in files if file.name not in there]
        return missing

    def _created(self, record: Record) -> "Run":
        tags = cut_tags({RECORD: record.key, **origin(record.command), **record.marks})
        began = _ms(record.began)
        run = self.client.create_run(self.experiment, began, run_name=record.name, tags=tags)
        self._new.add(run.info.run_id)
        return run

    def _log(self, run: "Run", record: Record) -> None:
        """Log what is missing, in the order of a normal run, and end the run."""
        one, run_id = self.tracker, run.info.run_id
        self._is_meant(run)
        if run.info.status != "RUNNING":  # only a complete run has ended
            self.client.update_run(run_id, status="RUNNING")
        one.log_missing(record.params)
        uploaded = {UPLOADED: datetime.now(tz=UTC).date().isoformat()}
        if PARENT in record.marks:
            uploaded[STATE] = STATES[record.status]
        there = {} if record.is_sweep else run.data.tags
        tags = {name: text for name, text in record.tags.items() if name not in there}
        one.log_settings({}, {**tags, **record.marks, **uploaded})
        if record.data is not None:
            one.log_data(*record.data)
        one.log_epochs(_timed(record, self._missing_epochs(run, record)))
        ended = _ms(record.ended) or int(1000 * time())
        one.log_epochs([(record.final[0], ended, self._missing_final(run, record))])
        if record.is_sweep:
            for below, folder in record.files.items():
                one.log_artifacts(folder, below)
        else:
            for file, below in self._missing_files(run, record):
                self.client.log_artifact(run_id, str(file), below or None)
        if record.note is not None:
            one.set_note(record.note)
        forget_reason(self.client, run)
        one.end_at(record.status, record.reason, ended)


def _first(metrics: Mapping[str, float]) -> str:
    """A name that tells the epochs of a trial's replicates apart."""
    return next(iter(metrics))


def _timed(record: Record, epochs: Sequence[Epoch]) -> list[tuple[int, int, Mapping[str, float]]]:
    """Epochs with their logging times, estimated from the duration of each epoch."""
    at, times = record.began or 0.0, {}
    for step, metrics in record.curves:
        at += sum(took for name, took in metrics.items() if name.rpartition("/")[2] in SECONDS)
        times[step, _first(metrics)] = round(1000 * at)
    return [(step, times[step, _first(metrics)], metrics) for step, metrics in epochs]


def _is_same(there: float | None, value: float) -> bool:
    """Whether two values are equal but for the order of a sum; MLflow has no infinity."""
    return there is not None and (
        math.isclose(there, value, rel_tol=1e-12) or not math.isfinite(value)
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)
