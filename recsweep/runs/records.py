"""What a run's folder says of it, as a tracker would have heard it while the run went on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsweep.app import Config, parameters_of_run
from recsweep.report import final_metrics
from recsweep.runs.consistency import FOLDS, epochs, metrics_per_user
from recsweep.runs.locate import (
    objective_of,
    parse_yaml,
    read,
    read_metrics,
    read_yaml,
)
from recsweep.shell import command, setting
from recsweep.tracking.backfill import Record
from recsweep.tracking.run_note import run_note


def logged(folder: Path, config: Config) -> dict[str, Any]:
    """What every run logs, as fields of a `Record`.

    Args:
        folder: Of a run's results, or of a trial.
        config: Its configuration.
    """
    noted, profile = read_yaml(folder / "environment.yaml"), read_yaml(folder / "split.yaml")
    tags = {name: str(value) for name, value in noted.items() if name != "run_id"}
    profile.pop("fingerprint", None)
    return {
        "params": parameters_of_run(config),
        "tags": tags,
        "data": (tags.get("data", "data"), tags.get("data.fingerprint", ""), profile),
    }


def page(results: Path) -> str:
    """What the page of a run says: its scores, and how to have it again.

    Args:
        results: Its results folder.
    """
    config, metrics = read_yaml(results / "config.yaml"), read_metrics(results)
    objective = objective_of(config, metrics)
    overrides = read(results / "overrides.yaml", parse_yaml, list)
    run_id = read_yaml(results / "environment.yaml").get("run_id") or str(results)
    again = command(*overrides)
    check = command("task=reproduce", setting("run_id", run_id))
    return run_note(metrics, objective, {"the same run again": again, "and compared": check})


def recorded(results: Path, marks: Mapping[str, str], name: str, command: str) -> Record:
    """A finished run.

    It ended when its metrics were written, and began as long before as its epochs took.

    Args:
        results: Its results folder.
        marks: Whose it is.
        name: Of the run.
        command: That started it.

    Raises:
        InputError: A file is missing or damaged, or two are not of the same run.
    """
    curves = epochs(results)
    for fold in FOLDS:
        metrics_per_user(results, fold)
    final, best_epoch = read(results / "metrics.json", lambda _: final_metrics(results), tuple)
    ended = (results / "metrics.json").stat().st_mtime
    took = [each[part] for _, each in curves for part in ("time/epoch_s", "time/evaluate_s")]
    return Record(
        name=name,
        run_id=read_yaml(results / "environment.yaml").get("run_id"),
        status="FINISHED",
        reason="",
        began=ended - sum(took),
        ended=ended,
        marks=marks,
        curves=curves,
        final=(best_epoch, final),
        files=results,
        note=page(results),
        command=command,
        **logged(results, read_yaml(results / "config.yaml")),
    )
