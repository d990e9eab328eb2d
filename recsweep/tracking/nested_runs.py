"""Tags of runs: who started them, and which belong to a sweep.

A sweep has one parent per study, one child per trial, and one for each training of the winner. A
restarted trial gets a new run. The previous one is then marked with the kind `superseded`: MLflow's
filters cannot select runs without some tag, and a filter for the kind `trial` must return one run
per trial.
"""

import getpass
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from recsweep.credentials import without_credentials
from recsweep.interfaces import Part, RunStatus
from recsweep.messages import describe_error, shorten
from recsweep.shell import command_line_arguments
from recsweep.tracking.store import mlflow_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
STUDY, KIND = "recsweep.study", "recsweep.kind"
TRIAL, REPLICATE = "recsweep.trial", "recsweep.replicate"
COMMAND = "recsweep.command"
"""Tag of every run: the user's command; all runs of a sweep have its first command."""
STATE, SUPERSEDED_BY = "recsweep.state", "recsweep.superseded_by"
SUPERSEDED = "superseded"
STATES: Mapping[RunStatus, str] = {
    "FINISHED": "complete", "PRUNED": "pruned", "KILLED": "interrupted", "FAILED": "failed",
}  # fmt: skip
"""Final value of the tag `STATE` of a trial's run; until then it is `running`."""
REASON = "reason"
TAG_CHARACTERS = 5000
PAGE = 500
"""Runs per request."""
NAME_CHARACTERS = 250
SIGNS = {
    "beta": "β", "dropout_rate": "d", "latent_dim": "z", "l2": "l2",
    "learning_rate_decay": "decay",
}  # fmt: skip
"""Short names for common hyperparameters in a trial's name."""


def trial_name(first: str, settings: Mapping[str, Any]) -> str:
    """A trial's name, such as `#12 β=.21 d=.5 z=200 l2=1e-05 decay=.97`.

    Args:
        first: What it begins with: the trial's number, or its model.
        settings: The trial's searched settings: dotted key or group -> value.
    """
    leaves = [(key.rpartition(".")[2], value) for key, value in settings.items()]
    named = [f"{SIGNS.get(leaf, leaf)}={_short(value)}" for leaf, value in leaves]
    return shorten(" ".join([first, *named]), NAME_CHARACTERS)


def _short(value: Any) -> str:
    """A short form of a value: floats with three digits, everything else as in YAML."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_short, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3g}") if isinstance(value, float) else str(value)


def sweep_tags(study: str) -> dict[str, str]:
    """Tags of the parent run of a study."""
    return {STUDY: study, KIND: "sweep"}


def child_tags(parent_run_id: str, study: str, part: Part) -> dict[str, str]:
    """Tags of the run of a trial, or of the winner; the UI shows it below its parent."""
    own = {KIND: "trial"} if part.replicate is None else {REPLICATE: str(part.replicate)}
    return {PARENT: parent_run_id, STUDY: study, TRIAL: str(part.trial), KIND: "winner", **own}


def is_trial(run: "Run") -> bool:
    """Whether a run is a trial of a sweep."""
    return run.data.tags.get(KIND) == "trial"


def is_result(run: "Run") -> bool:
    """Whether a run may have been scored on test: it is neither a trial nor superseded."""
    return not (is_trial(run) or is_superseded(run))


def is_superseded(run: "Run") -> bool:
    """Whether another run has replaced this one in its sweep."""
    return run.data.tags.get(KIND) == SUPERSEDED


def mlflow_status(status: RunStatus) -> str:
    """MLflow's status of an ended run; it has none for pruned runs."""
    return "KILLED" if status == "PRUNED" else status


def ending(error: BaseException) -> tuple[RunStatus, str]:
    """Final status of a run that ended with an error, and the reason."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", f"stopped by {str(error) or 'Ctrl-C'}"
    if isinstance(error, BrokenPipeError):
        return "KILLED", "stopped because the output is no longer read"
    return "FAILED", describe_error(error)


def supersede(
    client: "MlflowClient", experiment_id: str, tags: Mapping[str, str], run_id: str
) -> None:
    """Mark earlier runs of a trial, or of a training of the winner, as superseded.

    Those of another sweep whose study has the same name are left alone. Nothing is marked if the
    current run is superseded itself: its process was away, and another one restarted the trial.

    Args:
        client: MLflow's client.
        experiment_id: Experiment to search.
        tags: See `child_tags`.
        run_id: Id of the current run.
    """
    condition = (
        f"tags.`{KIND}` = '{tags[KIND]}' AND tags.`{TRIAL}` = '{tags[TRIAL]}' "
        f"AND attributes.run_id != '{run_id}'"
    )
    others = [
        run.info.run_id
        for run in _runs(client, experiment_id, tags[STUDY], condition)
        if all(run.data.tags.get(name) == tags.get(name) for name in (REPLICATE, PARENT))
    ]
    if not others or is_superseded(client.get_run(run_id)):
        return
    marks = {SUPERSEDED_BY: run_id, STATE: SUPERSEDED, KIND: SUPERSEDED}  # kind comes last
    for other in others:
        for name, value in marks.items():
            client.set_tag(other, name, value)


def supersede_all_but_newest(
    client: "MlflowClient", experiment_id: str, study: str, part: Part
) -> None:
    """Mark all runs of a trial, or of a training of the winner, but the newest as superseded.

    Their processes may have died before they could mark the earlier ones.

    Args:
        client: MLflow's client.
        experiment_id: Experiment to search.
        study: Name of the study.
        part: The trial or the training.
    """
    tags = child_tags("", study, part)
    condition = f"tags.`{KIND}` = '{tags[KIND]}' AND tags.`{TRIAL}` = '{tags[TRIAL]}'"
    runs = _runs(client, experiment_id, study, condition)
    newest = [run for run in runs if run.data.tags.get(REPLICATE) == tags.get(REPLICATE)][-1:]
    for run in newest:
        supersede(client, experiment_id, run.data.tags, run.info.run_id)


def missing_points(
    client: "MlflowClient", run_id: str | None, curve: Sequence[tuple[int, Mapping[str, float]]]
) -> list[tuple[int, dict[str, float]]]:
    """The points of a curve that a run lacks.

    Args:
        client: MLflow's client.
        run_id: Id of the run.
        curve: Step and metrics of each point, the same metrics in all.
    """
    names = [mlflow_name(name) for _, metrics in curve[:1] for name in metrics][:1]
    there = {point.step for name in names for point in client.get_metric_history(run_id, name)}
    return [(step, dict(metrics)) for step, metrics in curve if step not in there]


def adopt_or_create(
    client: "MlflowClient",
    experiment_id: str,
    study: str,
    name: str,
    tags: Mapping[str, str],
    known: "Run | None" = None,
) -> "Run":
    """The parent run of a study.

    With a server, two terminals may both create one; the older is kept. Age is by the clients'
    clocks: a delayed request may appear to be the older one after the other terminal has already
    continued. Only holding the study's mutex is safe.

    Args:
        client: MLflow's client.
        experiment_id: Experiment to search.
        study: Name of the study.
        name: Name of a new run.
        tags: Tags of a new run.
        known: The run that the study names.
    """
    found = known or oldest(client, experiment_id, study)
    if found is None:
        made = client.create_run(experiment_id, run_name=name, tags={**tags, **sweep_tags(study)})
        found = oldest(client, experiment_id, study) or made
        if found.info.run_id != made.info.run_id:
            client.delete_run(made.info.run_id)
    return found


def set_running(client: "MlflowClient", run: "Run") -> None:
    """Show that a parent works on a study."""
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
        forget_reason(client, run)


def set_scheduled(client: "MlflowClient", run: "Run") -> None:
    """Show that no parent works on a study yet: workers alone do not end its run."""
    if not run.data.params and run.info.status == "RUNNING":  # which a parent logs first
        client.update_run(run.info.run_id, status="SCHEDULED")


def forget_reason(client: "MlflowClient", run: "Run") -> None:
    """Remove the reason of an interruption from a run that was resumed or has finished."""
    if REASON in run.data.tags:
        client.delete_tag(run.info.run_id, REASON)


def running_children(
    client: "MlflowClient", experiment_id: str, study: str
) -> list[tuple[Part, str]]:
    """Part and run id of every child that MLflow considers running."""
    runs = _runs(
        client, experiment_id, study, f"tags.`{KIND}` != 'sweep' AND attributes.status = 'RUNNING'"
    )
    return [(_part(run.data.tags), run.info.run_id) for run in runs]


def _part(tags: Mapping[str, str]) -> Part:
    replicate = tags.get(REPLICATE)
    return Part(int(tags[TRIAL]), None if replicate is None else int(replicate))


def oldest(client: "MlflowClient", experiment_id: str, study: str) -> "Run | None":
    """The parent run of a study; None if there is none."""
    return next(parents(client, experiment_id, study), None)


def parents(client: "MlflowClient", experiment_id: str, study: str) -> "Iterator[Run]":
    """The parent runs of all studies of this name, oldest first."""
    return _runs(client, experiment_id, study, f"tags.`{KIND}` = 'sweep'")


def _runs(
    client: "MlflowClient", experiment_id: str, study: str, condition: str
) -> "Iterator[Run]":
    """Runs of a study that are not deleted, oldest first."""
    token = None
    while token != "":
        page = client.search_runs(
            [experiment_id], condition, max_results=PAGE, page_token=token,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )  # fmt: skip
        # compared here: a name with quotes cannot be written in MLflow's filter
        yield from (run for run in page if run.data.tags.get(STUDY) == study)
        token = page.token or ""


def cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags truncated to MLflow's limit."""
    return {name: shorten(value, TAG_CHARACTERS) for name, value in tags.items()}


def origin(command: str | None = None) -> dict[str, str]:
    """Who started the run and how, as tags that MLflow's UI shows.

    Args:
        command: Command such as `recsweep model=ease`; None = that of this process.
    """
    command = command or shlex.join(["recsweep", *without_credentials(command_line_arguments())])
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "recsweep"}
    tags[COMMAND] = shorten(command, TAG_CHARACTERS)
    with suppress(KeyError, OSError, ImportError):  # a container without a user database
        tags["mlflow.user"] = getpass.getuser()
    return tags
