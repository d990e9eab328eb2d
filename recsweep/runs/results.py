"""Writes the files of a run and of a trial."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recsweep.data.split import Split
from recsweep.evaluation import Evaluation, objective_of
from recsweep.fitting import FitResult
from recsweep.interfaces import RunTracker
from recsweep.metrics.groups import DEFINITIONS as OF_GROUPS
from recsweep.report import plot_curves
from recsweep.run_files import (
    CONFIG,
    CURVES,
    CURVES_PLOT,
    DEFINITIONS,
    ENVIRONMENT,
    FOLDS,
    GROUPS,
    GROUPS_PER_USER,
    METRICS,
    OVERRIDES,
    SPLIT,
    per_user_file,
    read_config,
    read_metrics,
    write_yaml,
)
from recsweep.runs.consistency import read_groups

OVER_K = {"valid_best_ndcg": "valid/best_ndcg_by_k", "test_ndcg": "test/ndcg_by_k"}


def write_results(
    folder: Path,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    fitted: FitResult,
    test: Evaluation,
) -> None:
    """Write a run's files: configuration, curves, metrics and their definitions.

    Args:
        folder: An existing folder.
        config: The resolved configuration.
        overrides: The overrides of the command line.
        fitted: The result of the fit.
        test: Metrics on test.
    """
    write_yaml(folder / CONFIG, dict(config))
    write_yaml(folder / OVERRIDES, list(overrides))
    write_yaml(folder / DEFINITIONS, {**test.definitions, **(OF_GROUPS if test.groups else {})})
    folds = dict(zip(FOLDS, (fitted.valid, test), strict=True))
    metrics = {
        "best_epoch": fitted.best_epoch + 1,
        "train_s": fitted.train_s,
        "refit_s": fitted.refit_s,
        **{
            fold: {**evaluation.summary(), "n_without_target": evaluation.n_without_target}
            for fold, evaluation in folds.items()
        },
    }
    text = json.dumps(metrics, indent=2, allow_nan=False)
    (folder / METRICS).write_text(text, encoding="utf-8")
    for fold, evaluation in folds.items():
        evaluation.per_user.to_parquet(per_user_file(folder, fold))
    if test.groups:
        test.groups.table.to_csv(folder / GROUPS)
        test.groups.per_user.to_parquet(folder / GROUPS_PER_USER)
    curves = write_curves(folder, fitted)
    if len(curves) > 1:
        objective = objective_of(config) or "ndcg"
        plot_curves(curves, fitted.best_epoch + 1, objective, folder / CURVES_PLOT)


def write_environment(
    folder: Path, run_id: str | None, tags: Mapping[str, str], split: Split
) -> None:
    """Write the environment of a run or a trial: commit, code, versions, machine, data.

    Args:
        folder: An existing folder.
        run_id: Its id in the tracking store; None = not tracked.
        tags: See `recsweep.app.run_tags`.
        split: The data.
    """
    write_yaml(folder / ENVIRONMENT, {"run_id": run_id, **tags})
    write_yaml(folder / SPLIT, {"fingerprint": split.fingerprint, **split.profile()})


def write_curves(folder: Path, fitted: FitResult) -> pd.DataFrame:
    """Write the curves, a row per epoch (from 1) and a column per curve, and return them."""
    curves = fitted.curves_table()
    curves.to_csv(folder / CURVES)
    return curves


def final_metrics(results: Path) -> tuple[dict[str, float], int]:
    """The metrics that a run logs at its end, and their epoch.

    Args:
        results: A folder written by `write_results`.
    """
    found = read_metrics(results)
    valid, test = found["valid"], found["test"]
    metrics = {
        **{f"valid_best_{name}": value for name, value in valid["mean"].items()},
        **{f"test_{name}": value for name, value in test["mean"].items()},
        **{f"test_se_{name}": value for name, value in test["standard_error"].items()},
        "best_epoch": found["best_epoch"],
        "train_s": found["train_s"],
        **({"refit_s": found["refit_s"]} if found["refit_s"] is not None else {}),
        **_objective_by_group(results),
    }
    numbers = {name: math.nan if value is None else value for name, value in metrics.items()}
    return numbers, found["best_epoch"]


def log_final(tracker: RunTracker, final: Mapping[str, float], best_epoch: int) -> None:
    """Log what a run or a trial has at its end.

    Args:
        tracker: Its tracker.
        final: Metrics such as `valid_best_ndcg@10`.
        best_epoch: From 1.
    """
    tracker.log_metrics(final, step=best_epoch)
    for k, values in curves_over_k(final):
        tracker.log_metrics(values, step=k)


def curves_over_k(final: Mapping[str, float]) -> list[tuple[int, dict[str, float]]]:
    """NDCG by cut-off instead of epoch: MLflow draws each single value as a chart of one dot.

    Args:
        final: Metrics logged at the end of a run or a trial, such as `test_ndcg@10`.

    Returns:
        Cut-off -> values such as `test/ndcg_by_k`, in ascending order.
    """
    curves: dict[int, dict[str, float]] = {}
    for name, value in final.items():
        metric, _, k = name.partition("@")
        if metric in OVER_K and k.isdigit():
            curves.setdefault(int(k), {})[OVER_K[metric]] = value
    return sorted(curves.items())


def _objective_by_group(results: Path) -> dict[str, float]:
    """The objective on test by group, for groups with users; empty for runs without groups."""
    if not (results / GROUPS).is_file():
        return {}
    objective, table = objective_of(read_config(results)), read_groups(results)
    if objective not in table:
        return {}
    means = table[objective].dropna()
    return {f"test_{objective}_{group}": float(mean) for group, mean in means.items()}
