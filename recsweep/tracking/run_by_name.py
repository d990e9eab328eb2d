"""Finds a finished run by id, name or `latest`."""

import shlex
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from recsweep.credentials import hide_credentials
from recsweep.errors import InputError
from recsweep.run_files import MODEL
from recsweep.tracking.nested_runs import (
    COMMAND,
    KIND,
    PARENT,
    REPLICATE,
    STUDY,
    TRIAL,
    is_result,
    is_trial,
)
from recsweep.tracking.store import mlflow_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LATEST = "latest"
"""Refers to the newest finished run, or the best model of the newest sweep."""
OBJECTIVES, SPLIT = "objectives", "split.fingerprint"
"""A parameter of a sweep's run, and a tag of a run that was scored."""
PAGE = 50


class NamedRun(NamedTuple):
    """The run that a name refers to.

    Args:
        run_id: Its id.
        why: Why it was chosen, such as `winner of study s`; empty = it was given by its id.
    """

    run_id: str
    why: str = ""


def find_finished(client: "MlflowClient", experiment: str, name: str) -> NamedRun:
    """A finished run with a model: by its id, `latest`, or the name of a study or a run.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment in which names are looked up.
        name: The name given by the user in `task.run`.

    Raises:
        InputError: There is no such run, it was deleted, did not finish, or has no model.
    """
    if name == LATEST:
        return find_latest(client, experiment, "task.run")
    if find_existing(client, name) is None:
        found = client.get_experiment_by_name(experiment)
        named = _named(client, found.experiment_id, name) if found else None
        if named is None:
            raise InputError(
                f"task.run must be the id of a run in the tracking store, {LATEST}, the name of a "
                f"study or a run, or a results folder, but {name} is none of them; see "
                "task=studies and task=ui, or set tracking.uri"
            )
        return named
    return NamedRun(check_finished(client, name))


def check_finished(client: "MlflowClient", run_id: str) -> str:
    """Return the id if it is that of a finished run with a model.

    Args:
        client: MLflow's client.
        run_id: Id of a run that may not exist.

    Raises:
        InputError: There is no such run, it was deleted, did not finish, or has no model.
    """
    run = find_existing(client, run_id)
    if run is None:
        raise InputError(
            f"task.run must be a run in the tracking store, but {run_id} is not there; see mlflow "
            "ui, or set tracking.uri"
        )
    refuse_deleted(client, run, "task.run")
    if run.info.status != "FINISHED":
        raise InputError(
            f"task.run must be a finished run, but {run_id} is {run.info.status}; wait for it or "
            "give another one"
        )
    if not _has_model(client, run):
        found = f"trial {run_id} of a sweep" if is_trial(run) else f"run {run_id}"
        do = (
            "give the winner's run, or train what task=best prints"
            if is_trial(run)
            else "give another one"
        )
        raise InputError(f"task.run must have a model, but {found} has none; {do}")
    return run_id


def find_latest(client: "MlflowClient", experiment: str, setting: str) -> NamedRun:
    """The last finished run with a model; if it is a sweep's, the best of that command.

    Args:
        client: MLflow's client.
        experiment: Name of the experiment.
        setting: The setting that asks for it, such as `task.run`.

    Raises:
        InputError: There is none.
    """
    found = client.get_experiment_by_name(experiment)
    order = "attributes.end_time DESC"
    for run in _finished_runs(client, found.experiment_id, order) if found else ():
        if is_result(run) and _has_model(client, run):
            if run.data.tags.get(KIND) == "winner":
                return _best_of_command(client, found.experiment_id, run)
            return NamedRun(run.info.run_id, "the run that finished last")
    raise InputError(
        f"{setting}={LATEST} needs a finished run with a model in experiment {experiment}, but "
        "there is none; train one, or set tracking.experiment or tracking.uri"
    )


def _best_of_command(client: "MlflowClient", experiment_id: str, run: "Run") -> NamedRun:
    """The winner with the best validation mean among all studies of a run's command.

    Only winners on the same split are comparable.
    """
    marks = (COMMAND, SPLIT)
    studies: dict[str, list[Run]] = {}
    for winner in _winners(client, experiment_id):
        if all(winner.data.tags.get(mark) == run.data.tags.get(mark) for mark in marks):
            studies.setdefault(winner.data.tags[STUDY], []).append(winner)
    parent = find_existing(client, run.data.tags[PARENT])
    objective = (parent.data.params.get(OBJECTIVES, "") if parent else "").strip("[]' ")
    metric = mlflow_name(f"valid_best_{objective}")

    def score(study: str) -> float:
        values = [one.data.metrics.get(metric) for one in _last_scored(studies[study])]
        known = [value for value in values if value is not None and value == value]  # noqa: PLR0124
        return statistics.fmean(known) if known else float("-inf")

    names = sorted(studies, key=lambda study: study == run.data.tags[STUDY], reverse=True)
    best = max(names, key=score)
    among = f", the best on validation of the {len(names)} of its command" if names[1:] else ""
    return NamedRun(_first(client, studies[best]), f"winner of study {best}{among}")


def _named(client: "MlflowClient", experiment_id: str, name: str) -> NamedRun | None:
    """The winner of the study with this name, or the newest run with this name."""
    of_study = [run for run in _winners(client, experiment_id) if run.data.tags[STUDY] == name]
    if of_study:
        return NamedRun(_first(client, of_study), f"winner of study {name}")
    for run in _finished_runs(client, experiment_id, "attributes.end_time DESC"):
        if run.info.run_name == name and is_result(run) and _has_model(client, run):
            return NamedRun(run.info.run_id, f"the newest run called {name}")
    return None


def _winners(client: "MlflowClient", experiment_id: str) -> "list[Run]":
    """Finished trainings of the winners of studies, oldest first."""
    order = "attributes.start_time ASC"
    runs = _finished_runs(client, experiment_id, order, f"tags.`{KIND}` = 'winner'")
    return [run for run in runs if STUDY in run.data.tags]


def _last_scored(runs: "Sequence[Run]") -> "list[Run]":
    """Runs of the trial that was scored last: later trials may have found a better one."""
    return [run for run in runs if run.data.tags.get(TRIAL) == runs[-1].data.tags.get(TRIAL)]


def _first(client: "MlflowClient", runs: "Sequence[Run]") -> str:
    """Id of a winner's first training, the one that `sweep.register` registers."""
    found = _last_scored(runs)
    with_model = [run for run in found if _has_model(client, run)] or found
    return str(min(with_model, key=lambda run: int(run.data.tags.get(REPLICATE, 0))).info.run_id)


def _finished_runs(
    client: "MlflowClient", experiment_id: str, order: str, condition: str = ""
) -> "Iterator[Run]":
    """Finished runs that are not deleted."""
    conditions = " AND ".join(filter(None, ["attributes.status = 'FINISHED'", condition]))
    token = None
    while token != "":
        page = client.search_runs(
            [experiment_id], conditions, max_results=PAGE, order_by=[order], page_token=token
        )
        yield from page
        token = page.token or ""


def _has_model(client: "MlflowClient", run: "Run") -> bool:
    return bool(client.list_artifacts(run.info.run_id, MODEL))


def refuse_deleted(client: "MlflowClient", run: "Run", setting: str) -> None:
    """Refuse a deleted run: MLflow still has it, but does not show it.

    Args:
        client: MLflow's client.
        run: The run.
        setting: The setting that names it, such as `task.run`.

    Raises:
        InputError: It was deleted.
    """
    if run.info.lifecycle_stage == "deleted":
        store = shlex.quote(hide_credentials(client.tracking_uri))
        run_id = run.info.run_id
        raise InputError(
            f"{setting} must be a run that was not deleted, but {run_id} was; restore it with "
            f"MLFLOW_TRACKING_URI={store} mlflow runs restore --run-id {run_id}, or give "
            "another run"
        )


def find_existing(client: "MlflowClient", run_id: str) -> "Run | None":
    """The run with this id; None if the store has none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
