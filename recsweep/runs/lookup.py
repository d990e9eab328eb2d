"""Finds the run to use and prints which one it is."""

from pathlib import Path

from recsweep.app import Config, Settings, build_group, model_name, sweep_folder
from recsweep.errors import InputError
from recsweep.files import expand_user, is_folder
from recsweep.messages import print_to_stderr
from recsweep.run_files import (
    CONFIG,
    METRICS,
    MODEL,
    TRIALS,
    is_study,
    read,
    read_config,
    read_metrics,
)
from recsweep.runs.past_run import PastRun, objective_of
from recsweep.runs.scored_run import replicates_of
from recsweep.tracking import LATEST


def find_run(run: str, settings: Settings, folder: Path) -> PastRun:
    """Find a finished run, fetch it if it is tracked, and print on stderr which one it is.

    Args:
        run: Its id in MLflow, `latest`, the name of a study or a run, or a results folder.
        settings: Locations of tracked runs and of studies.
        folder: An existing, empty folder for fetched files.

    Raises:
        InputError: There is no such run, it did not finish, or it has no model.
    """
    found, why = _found(run, settings, folder)
    told = ", ".join(filter(None, [why, describe_run(found.results)]))
    print_to_stderr(f"task.run={run} is run {found.name}: {told}")
    return found


def _found(run: str, settings: Settings, folder: Path) -> tuple[PastRun, str]:
    """The run, and why it was chosen."""
    path, sweeps = expand_user(run), sweep_folder(settings)
    is_here = is_study(path) or is_folder(path / MODEL) or _is_trial(path)
    is_name = path.name == run and not is_here
    for study in (sweeps / run, path) if is_name and run != LATEST else (path,):
        if is_study(study) and not is_folder(study / MODEL):
            return _winner(study), f"winner of study {study.name}"
    if is_name or run == LATEST:
        tracker = build_group(settings, "tracking", "download")
        run_id, why = tracker.download(run, folder)
        return PastRun(run_id, folder, tracker), why
    if _is_trial(path):
        raise InputError(
            f"task.run must be a run with a model and a test, but {run} is a trial of a sweep, "
            "which has neither; give the winner's results folder, or train what task=best prints"
        )
    if not is_folder(path / MODEL):
        raise InputError(
            f"task.run must be the results folder of a run, but {run} has no folder {MODEL}; give "
            "OUTPUT_FOLDER/results, the name of a study, the id of a run, or latest"
        )
    return PastRun(run, path), ""


def _is_trial(path: Path) -> bool:
    return path.absolute().parent.name == TRIALS and is_folder(path)


def _winner(study: Path) -> PastRun:
    """The first training of a study's winner, which `sweep.register` registers."""
    results = replicates_of(study)[0]
    if not (results / MODEL).is_dir():
        raise InputError(
            f"a study's winner must have a folder {MODEL}, but {results} has none; copy the "
            "study's whole folder again"
        )
    return PastRun(str(results), results)


def describe_run(results: Path) -> str:
    """Describe a run: `ease on ml-100k, ndcg@100 0.4123 on validation and 0.4011 on test`.

    Args:
        results: Its results folder; missing files are skipped.
    """
    if not (results / CONFIG).is_file():
        return ""
    config = read_config(results)
    name = read(results / CONFIG, lambda _: _name(config), str)
    if not (results / METRICS).is_file():
        return name
    objective, scores = read(results / METRICS, lambda _: _scores(config, results), tuple)
    return f"{name}, {objective} {' and '.join(scores)}"


def _scores(config: Config, results: Path) -> tuple[str, list[str]]:
    told = read_metrics(results)
    objective = objective_of(config, told)
    return objective, [
        f"{told[fold]['mean'][objective]:.4f} on {name}"
        for fold, name in (("valid", "validation"), ("test", "test"))
        if objective in told[fold]["mean"]
    ]


def _name(config: Config) -> str:
    data = (config.get("data") or {}).get("name", "data")
    return f"{model_name(config)} on {data}"
