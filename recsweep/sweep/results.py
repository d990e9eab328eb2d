"""A sweep's outcome: the table of its best trials and the files that hold all of it."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import optuna
import yaml

from recsweep.data.disk import disk_errors_in_one_line, whole_file
from recsweep.sweep.space import overrides
from recsweep.sweep.standing import (
    FINISHED,
    STATES,
    Standing,
    TrialRow,
    shown_duration,
    shown_value,
)


def trial_overrides(study: optuna.Study, row: TrialRow) -> list[str]:
    """What reproduces a trial as a single run: the sweep's fixed overrides and the trial's own."""
    return [*study.user_attrs["identity"]["fixed"], *overrides(row.settings)]


# --- table ---------------------------------------------------------------------------------------


def best_table(standing: Standing, n: int = 10) -> str:
    """The best trials and the default configuration's, best first; below it how many there are.

    Pruned trials stand where their best epoch puts them, but only complete ones have a rank.

    With several objectives: the Pareto front.

    Args:
        standing: What the study has reached.
        n: Rows at most, not counting the winner's and the default configuration's.
    """
    head, rows = best_rows(standing, n)
    if not rows:
        return counts_line(standing)
    lines = aligned(head, rows)
    if len(standing.objectives) > 1:
        front = f"{len(standing.front)} of {standing.count('complete')} complete trials"
        lines[:0] = [
            f"Pareto front of {' and '.join(standing.objectives)}: {front}",
            "several objectives have no single winner, so test is not scored",
        ]
    return "\n".join(filter(None, [*lines, remark_on_pruned(standing), counts_line(standing)]))


def best_rows(standing: Standing, n: int = 10) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of `best_table`; a column may be without any entry.

    Args:
        standing: What the study has reached.
        n: Rows at most, not counting the winner's and the default configuration's.
    """
    is_single = len(standing.objectives) == 1
    rows = list((standing.placed if is_single else standing.front)[:n])
    default = standing.default
    for row in (standing.best, default if default and default.state in FINISHED else None):
        if row and row not in rows:
            rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    head = ["rank", "trial", "", *standing.objectives, "epoch", "time", *short_names(keys)]
    ranks = {row.number: str(n) for n, row in enumerate(standing.ranked, 1) if is_single}
    return head, [[ranks.get(row.number, ""), *_cells(standing, row, keys)] for row in rows]


def remark_on_pruned(standing: Standing) -> str:
    """A sentence where the first row of the table is not the winner; empty where it is."""
    if standing.best is None or standing.placed[0] == standing.best:
        return ""
    return (
        f"the winner is trial {standing.best.number}: pruned trials were stopped early and have "
        "no rank"
    )


def counts_line(standing: Standing) -> str:
    """Such as `30 of 30 trials done: 18 complete, 11 pruned, 1 failed`."""
    counts = {state: standing.count(state) for state in STATES}
    shown = [f"{n} {state}" for state, n in counts.items() if n or state in FINISHED]
    return f"{standing.n_finished} of {standing.n_trials} trials done: {', '.join(shown)}"


def _cells(standing: Standing, row: TrialRow, keys: Sequence[str]) -> list[str]:
    is_outside = len(standing.objectives) > 1 and row not in standing.front
    marks = [
        "default" if row.is_default else "",
        row.state if row.state != "complete" else "not on the front" if is_outside else "",
    ]
    pairs = zip_longest(standing.objectives, row.values)
    return [
        str(row.number),
        ", ".join(filter(None, marks)),
        *("" if value is None else shown_value(name, value) for name, value in pairs),
        "" if row.best_epoch is None else str(row.best_epoch),
        "" if row.wall_s is None else shown_duration(row.wall_s),
        *(_cell(row.settings[key]) if key in row.settings else "" for key in keys),
    ]


def _cell(value: Any) -> str:
    """A setting, four digits of a number."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_names(keys: Sequence[str]) -> list[str]:
    """`beta` for `model.beta`, unless two keys would share a name."""
    short = [key.rpartition(".")[2] for key in keys]
    return [last if short.count(last) == 1 else key for key, last in zip(keys, short, strict=True)]


def aligned(head: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as needed, flush right.

    Args:
        head: A title per column.
        body: A list of cells per line, at least one; a column without any entry is left out.
    """
    columns = [c for c in zip(head, *body, strict=True) if any(c[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]


# --- files ---------------------------------------------------------------------------------------


def write_optimization_results(
    file: Path,
    study: optuna.Study,
    standing: Standing,
    resume: str,
    test: Mapping[str, Any] | None = None,
) -> None:
    """Write `optimization_results.yaml`, whole or not at all.

    Args:
        file: In an existing folder.
        study: Whose trials they are.
        standing: What it has reached.
        resume: The command that continues the sweep.
        test: `test`, the winner's scores, and `test_scored`, how often it was looked at.

    Raises:
        InputError: The disk refuses.
    """
    default = standing.default
    content = {
        "name": "optuna",
        "study": standing.study,
        "objectives": list(standing.objectives),
        "directions": list(standing.directions),
        **_winners(study, standing),
        "default": default and {"trial": default.number, "state": default.state,
                                "result": list(default.values), "epoch": default.best_epoch},
        "trials": {
            "asked": standing.n_trials,
            "finished": standing.n_finished,
            **{state: standing.count(state) for state in STATES},
        },
        "trials_wall_s": sum(row.wall_s or 0.0 for row in standing.rows),
        "resume": resume,
        **(test or {"test": None}),
    }  # fmt: skip
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    _write_whole(file, text)


def _winners(study: optuna.Study, standing: Standing) -> dict[str, Any]:
    """The best trial under the keys of Hydra's other sweepers; of several objectives the front."""
    found = [
        {
            "trial": row.number,
            "evaluated_params": dict(row.settings),
            "evaluated_result": row.values[0] if len(row.values) == 1 else list(row.values),
            "overrides": trial_overrides(study, row),
            "epoch": row.best_epoch,
            "train_s": row.train_s,
            "validation": dict(row.metrics),
        }
        for row in standing.front
    ]
    if len(standing.objectives) > 1:
        return {"pareto_front": found}
    return {f"best_{key}": value for row in found for key, value in row.items()}


def write_trials(file: Path, standing: Standing) -> None:
    """Write `trials.csv`: a row per trial; objectives, settings and validation metrics as columns.

    Objectives and validation metrics are those of `best_epoch`, whatever became of the trial. What
    it had reached after `n_epochs`, its last epoch, is called so.

    Args:
        file: In an existing folder; written whole or not at all.
        standing: What the study has reached.

    Raises:
        InputError: The disk refuses.
    """
    records = [_record(standing, row) for row in standing.rows]
    columns = dict.fromkeys(column for record in records for column in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, sorted(columns, key=lambda name: name.startswith("valid/")))
    writer.writeheader()
    writer.writerows(records)
    _write_whole(file, text.getvalue())


def _record(standing: Standing, row: TrialRow) -> dict[str, Any]:
    texts = {
        key: value if isinstance(value, str | float) else json.dumps(value, ensure_ascii=False)
        for key, value in row.settings.items()
    }
    n_reported = len(standing.objectives) == 1  # of several, epochs are not reported
    return {
        "trial": row.number,
        "state": row.state,
        **dict(zip_longest(standing.objectives, row.values)),
        "best_epoch": row.best_epoch,
        "n_epochs": row.n_epochs,
        **{f"{name}_at_last_epoch": row.last_value for name in standing.objectives[:n_reported]},
        "train_s": row.train_s,
        "wall_s": row.wall_s,
        "cpu_s": row.cpu_s,
        "peak_bytes": row.peak_bytes,
        "reason": row.reason,
        **texts,
        **{f"valid/{name}": value for name, value in row.metrics.items()},
    }


def _write_whole(file: Path, text: str) -> None:
    with disk_errors_in_one_line(file, "sweep.folder"), whole_file(file) as stream:
        stream.write(text.encode())
