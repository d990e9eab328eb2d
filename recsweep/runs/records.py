"""Rebuilds from a run's folder what a tracker would have logged during the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsweep.app import Config, parameters_of_run
from recsweep.files import refuse_links
from recsweep.run_files import (
    CURVES,
    FOLDS,
    METRICS,
    read,
    read_config,
    read_metrics,
    read_overrides,
    read_run_id,
    read_split,
    read_tags,
)
from recsweep.runs.consistency import check_curves, metrics_per_user
from recsweep.runs.past_run import objective_of
from recsweep.runs.results import curves_over_k, final_metrics
from recsweep.shell import command, setting
from recsweep.tracking.backfill import Record
from recsweep.tracking.run_note import run_note

Curves = list[tuple[int, dict[str, float]]]


def record_fields(folder: Path, config: Config) -> dict[str, Any]:
    """What every run logs, as fields of a `Record`.

    Args:
        folder: A run's results folder, or a trial's folder.
        config: The run's configuration.
    """
    tags, (_, profile) = read_tags(folder), read_split(folder)
    return {
        "params": parameters_of_run(config),
        "tags": tags,
        "data": (tags.get("data", "data"), tags.get("data.fingerprint", ""), profile),
    }


def page_note(results: Path) -> str:
    """The note on a run's page: its scores, and how to reproduce it.

    Args:
        results: Its results folder.

    Raises:
        InputError: A file is missing or damaged.
    """
    metrics, config = read_metrics(results), read_config(results)
    again = command(*read_overrides(results))
    run_id = read_run_id(results) or str(results)
    check = command("task=reproduce", setting("task.run", run_id))
    commands = {"the same run again": again, "and compared": check}

    def note(_: Path) -> str:
        return run_note(metrics, objective_of(config, metrics), commands)

    return read(results / METRICS, note, str)


def run_record(results: Path, marks: Mapping[str, str], name: str, command: str) -> Record:
    """The record of a finished run.

    Its end is when its metrics were written; its start is earlier by the duration of its epochs.

    Args:
        results: Its results folder.
        marks: Tags that identify it.
        name: The run's name.
        command: The command that started it.

    Raises:
        InputError: A file is missing, damaged or a link, or two are not from the same run.
    """
    refuse_links(results)
    curves = check_curves(results)
    for fold in FOLDS:
        metrics_per_user(results, fold)
    final, best_epoch = read(results / METRICS, lambda _: final_metrics(results), tuple)
    ended = (results / METRICS).stat().st_mtime
    took = read(results / CURVES, lambda _: _seconds(curves), list)
    return Record(
        name=name,
        run_id=read_run_id(results),
        status="FINISHED",
        reason="",
        began=ended - sum(took),
        ended=ended,
        marks=marks,
        curves=[*curves, *curves_over_k(final)],
        final=(best_epoch, final),
        files={"": results},
        note=page_note(results),
        command=command,
        **record_fields(results, read_config(results)),
    )


def _seconds(curves: Curves) -> list[float]:
    """How long each epoch and each evaluation took."""
    return [each[part] for _, each in curves for part in ("epoch_s", "evaluate_s")]
