"""The files of a study: `trials.csv` and `optimization_results.yaml`."""

import csv
import io
import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import optuna

from recsweep.files import disk_errors_in_one_line, whole_file
from recsweep.run_files import yaml_text
from recsweep.sweeps.space.space import overrides
from recsweep.sweeps.study.shared_study import FLAGS
from recsweep.sweeps.study.status import STATES, StudyStatus, TrialRow


def trial_overrides(study: optuna.Study, row: TrialRow) -> list[str]:
    """Overrides that reproduce a trial as a single run: the sweep's fixed ones and its own."""
    return [*study.user_attrs["identity"]["fixed"], *overrides(row.settings)]


def trial_arguments(study: optuna.Study, row: TrialRow) -> list[str]:
    """The same as arguments of a command, with the sweep's folder of configurations."""
    return [*study.user_attrs.get(FLAGS, []), *trial_overrides(study, row)]


def write_optimization_results(
    file: Path,
    study: optuna.Study,
    status: StudyStatus,
    resume: str,
    test: Mapping[str, Any] | None = None,
) -> None:
    """Write `optimization_results.yaml`, whole or not at all.

    Args:
        file: Output file in an existing folder.
        study: The study.
        status: Its status.
        resume: The command that resumes the sweep.
        test: `test`, the winner's scores, and `test_scored`, how often test was scored.

    Raises:
        InputError: The file cannot be written.
    """
    default = status.default
    content = {
        "name": "optuna",
        "study": status.study,
        "objectives": list(status.objectives),
        "directions": list(status.directions),
        **_winners(study, status),
        "default": default and {"trial": default.number, "state": default.state,
                                "result": list(default.values), "epoch": default.best_epoch},
        "trials": {
            "asked": status.n_trials,
            "finished": status.n_finished,
            **{state: status.count(state) for state in STATES},
        },
        "trials_wall_s": sum(row.wall_s or 0.0 for row in status.rows),
        "resume": resume,
        **(test or {"test": None}),
    }  # fmt: skip
    _write_whole(file, yaml_text(content))


def _winners(study: optuna.Study, status: StudyStatus) -> dict[str, Any]:
    """The best trial under the keys of Hydra's other sweepers, or else the Pareto front."""
    found = [
        {
            "trial": row.number,
            "evaluated_params": dict(row.settings),
            "evaluated_result": row.values[0] if len(row.values) == 1 else list(row.values),
            "overrides": trial_overrides(study, row),
            "epoch": row.best_epoch,
            "train_s": row.train_s,
            "validation": dict(row.metrics),
            **_spread(row),
        }
        for row in status.front
    ]
    if len(status.objectives) > 1:
        return {"pareto_front": found}
    return {f"best_{key}": value for row in found for key, value in row.items()}


def _spread(row: TrialRow) -> dict[str, Any]:
    """The first objective of each replicate; empty if a trial has a single one."""
    if not row.replicates:
        return {}
    return {"standard_deviation": row.deviation, "replicates": list(row.replicates)}


def write_trials(file: Path, status: StudyStatus) -> None:
    """Write `trials.csv`: a row per trial; objectives, settings and validation metrics as columns.

    Objectives and validation metrics are those of `best_epoch`, even for pruned trials. The value
    after `n_epochs`, the last epoch, is in `…_at_last_epoch`. With several replicates they are
    means, beside `…_standard_deviation` and `…_replicates`, the value of each.

    Args:
        file: Output file in an existing folder; written whole or not at all.
        status: The study's status.

    Raises:
        InputError: The file cannot be written.
    """
    text = io.StringIO()
    columns, records = trial_records(status)
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    searched = {key for row in status.rows for key in row.settings}
    writer.writerows(
        {key: _text(value) if key in searched else value for key, value in record.items()}
        for record in records
    )
    _write_whole(file, text.getvalue())


def trial_records(status: StudyStatus) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of `trials.csv`; a row has only the columns that apply to its trial.

    Args:
        status: The study's status.
    """
    records = [_record(status, row) for row in status.rows]
    columns = dict.fromkeys(column for record in records for column in record)
    return sorted(columns, key=lambda name: name.startswith("valid/")), records


def _record(status: StudyStatus, row: TrialRow) -> dict[str, Any]:
    spread = {f"{status.objectives[0]}_{name}": value for name, value in _spread(row).items()}
    n_reported = len(status.objectives) == 1  # with several, epochs are not reported
    return {
        "trial": row.number,
        "state": row.state,
        **dict(zip_longest(status.objectives, row.values)),
        **spread,
        "best_epoch": row.best_epoch,
        "n_epochs": row.n_epochs,
        **{f"{name}_at_last_epoch": row.last_value for name in status.objectives[:n_reported]},
        "train_s": row.train_s,
        "wall_s": row.wall_s,
        "cpu_s": row.cpu_s,
        "peak_bytes": row.peak_bytes,
        "reason": row.reason,
        **row.settings,
        **{f"valid/{name}": value for name, value in row.metrics.items()},
    }


def _text(setting: Any) -> str | float:
    """A string or float as it is, anything else as JSON."""
    is_plain = isinstance(setting, str | float)
    return setting if is_plain else json.dumps(setting, ensure_ascii=False)


def _write_whole(file: Path, text: str) -> None:
    with disk_errors_in_one_line(file, "sweep.folder"), whole_file(file) as stream:
        stream.write(text.encode())
