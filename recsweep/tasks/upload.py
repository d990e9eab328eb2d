"""Uploads runs to MLflow that were made without it or while its server was down."""

import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.app import Job, build_group, model_name
from recsweep.errors import InputError
from recsweep.files import expand_user
from recsweep.interfaces import STRICT
from recsweep.messages import print_to_stderr, print_to_stdout
from recsweep.run_files import METRICS, RESULTS, is_run, read_config, read_overrides

if TYPE_CHECKING:
    from recsweep.sweeps.reporting.run_records import StudyRecords
    from recsweep.tracking.backfill import Record, Uploader


@dataclass(kw_only=True, config=STRICT)
class Upload:
    """Upload a complete run or sweep to MLflow.

    Args:
        run: A run's results folder, or a study's name or folder.
    """

    from_run: Annotated[str | None, Field(alias="run", min_length=1)]

    def run(self, job: Job) -> None:
        """Print what was missing, and how to view it.

        Raises:
            InputError: There is no such run, its files are damaged, or the store does not respond.
        """
        place = expand_user(self.from_run or "")
        folders = [each for each in (place, place / RESULTS) if is_run(each)]
        if self.from_run and folders:
            self._upload_run(job, folders[0])
        else:
            self._upload_study(job, place)

    def _upload_run(self, job: Job, results: Path) -> None:
        from recsweep.runs.records import run_record

        config = read_config(results)
        model, data = model_name(config), config.get("data", {}).get("name")
        name = config.get("tracking", {}).get("run_name") or f"{model}-{data or 'data'}"
        command = shlex.join(["recsweep", *read_overrides(results)])
        record = run_record(results, {}, name, command)
        uploader = _uploader(job, config)
        _tell(uploader, record, [uploader.upload(record)])

    def _upload_study(self, job: Job, place: Path) -> None:
        records = self._study(job, place)
        uploader = _uploader(job, records.config)
        parent_run_id = uploader.begin(records.parent())
        views = uploader.share_view(parent_run_id, records.status.study, *records.view_columns())
        parent = records.parent(views, parent_run_id)
        children = list(records.children(parent_run_id))
        said = []
        for i, record in enumerate(children, 1):
            said.append(uploader.upload(record))
            if said[-1] != "there":
                print_to_stderr(f"{i} of {len(children)}  {said[-1]:<9}  {record.name}")
        _tell(uploader, parent, [*said, uploader.upload(parent)])

    def _study(self, job: Job, place: Path) -> "StudyRecords":
        from recsweep.sweeps.reporting.run_records import StudyRecords
        from recsweep.sweeps.study.catalog import StudyCatalog

        studies = StudyCatalog.of(job.settings.sweep)
        if len(place.parts) > 1:
            studies = dataclasses.replace(studies, folder=place.parent)
        if place.name not in studies.names:
            raise InputError(
                f"task.run must be a run's results folder or a study, but is {self.from_run}; "
                f"task=studies lists those in {studies}, and a results folder has a {METRICS}"
            )
        study, status = studies.load(place.name)
        if n_running := status.count("running"):
            raise InputError(
                f"task.run must be a study without running trials, but {n_running} trials of "
                f"{place.name} are running; wait for them"
            )
        return StudyRecords(study, status, studies.folder / place.name)


def _uploader(job: Job, config: dict[str, Any]) -> "Uploader":
    """An uploader to the current store and to the current experiment, or else the run's own."""
    from recsweep.tracking.backfill import Uploader

    tracker = build_group(job.settings, "tracking", "log_metrics")
    if tracker.store is None:
        raise InputError("task=upload needs a store, but tracking=off names none; leave that out")
    if not any(typed.startswith("tracking.experiment=") for typed in job.overrides):
        tracker.experiment = config.get("tracking", {}).get("experiment", tracker.experiment)
    return Uploader(tracker)


def _tell(uploader: "Uploader", record: "Record", said: Iterable[str]) -> None:
    """Print what was missing, and where the run is now."""
    counts = Counter(said)
    n_runs, n_there = counts.total(), counts["there"]
    found = [f"{counts[kind]} {kind}" for kind in ("new", "completed") if counts[kind]]
    done = f"{', '.join(found)}, {n_there} there already" if found else "all there, nothing to do"
    print_to_stdout(
        f"{n_runs} run{'s' * (n_runs > 1)}: {done}", f"open UI   {uploader.page(record)}"
    )
