"""Which run is meant when a finished one is to be used again."""

from typing import Any

from recsweep.errors import InputError
from recsweep.tracking.sweeps import is_trial

LATEST = "latest"
"""Stands for the id of the newest finished run."""
MODEL = "model"
"""The folder among a run's files that holds its model."""


def finished(client: Any, run_id: str) -> str:
    """The id, if it is that of a finished run with a model.

    Args:
        client: MLflow's.
        run_id: What the user typed.

    Raises:
        InputError: There is no such run, it was deleted, did not finish, or has no model.
    """
    run = existing(client, run_id)
    if run is None or run.info.lifecycle_stage == "deleted":
        raise InputError(
            f"task.run must be the id of a run in the tracking store, {LATEST}, or a results "
            f"folder, but {run_id} is none of them; see mlflow ui, or set tracking.uri"
        )
    if run.info.status != "FINISHED":
        raise InputError(
            f"task.run must be a finished run, but {run_id} is {run.info.status}; wait for it or "
            "give another one"
        )
    if not client.list_artifacts(run_id, MODEL):
        found = f"trial {run_id} of a sweep" if is_trial(run) else f"run {run_id}"
        do = (
            "give its winner's, or train what task=best prints"
            if is_trial(run)
            else "give another one"
        )
        raise InputError(f"task.run must have a model, but {found} has none; {do}")
    return run_id


def latest(client: Any, experiment: str) -> str:
    """Id of the run with a model that finished last; trials of sweeps have none.

    Args:
        client: MLflow's.
        experiment: The name of the experiment.

    Raises:
        InputError: There is none.
    """
    found = client.get_experiment_by_name(experiment)
    token = None if found else ""
    while token != "":
        page = client.search_runs(
            [found.experiment_id], "attributes.status = 'FINISHED'", max_results=50,
            order_by=["attributes.end_time DESC"], page_token=token,
        )  # fmt: skip
        for run in page:
            if not is_trial(run) and client.list_artifacts(run.info.run_id, MODEL):
                return str(run.info.run_id)
        token = page.token or ""
    raise InputError(
        f"task.run={LATEST} needs a finished run with a model in experiment {experiment}, but "
        "there is none; train one, or set tracking.experiment or tracking.uri"
    )


def existing(client: Any, run_id: str) -> Any:
    """The run; None when the store knows none of this id."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
