"""Reads a run's metrics per user, curves and model, and checks them against its other files."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsweep.documents import read_bytes
from recsweep.errors import InputError
from recsweep.metrics.groups import GROUPS as NAMES
from recsweep.metrics.groups import SE, Groups
from recsweep.persistence import ITEMS, SPEC
from recsweep.run_files import (
    CONFIG,
    CURVES,
    GROUPS,
    GROUPS_PER_USER,
    MAX_TABLE_BYTES,
    METRICS,
    MODEL,
    SPLIT,
    per_user_file,
    read,
    read_config,
    read_curves,
    read_metrics,
    read_split,
    read_yaml,
)
from recsweep.runs.past_run import objective_of
from recsweep.stored_files import n_rows_of, read_table

ROUNDING = 1e-9
"""Relative tolerance; the same mean over reordered users differs in its last bits."""


def metrics_per_user(results: Path, fold: str, place: str | None = None) -> pd.DataFrame:
    """Read a fold's metrics: a column per metric and cut-off; index: user ids.

    Args:
        results: A run's results folder.
        fold: `valid` or `test`.
        place: The run's name in messages; None = the folder.

    Raises:
        InputError: A file is missing or damaged, or the two files are not from the same run.
    """
    file, told = per_user_file(results, fold), _told(results, fold)
    n_rows = read(file, n_rows_of, int)
    users = (told.get("n_users", n_rows), n_rows)
    if users[0] != users[1]:
        raise _unlike(place or results, file.name, "the number of users", users)
    frame = read(file, lambda file: _numbers(read_table(file, n_rows)), pd.DataFrame)
    means = {str(name): float(value) for name, value in frame.mean().items()}
    told_errors = told.get("standard_error") or {}
    for name in dict.fromkeys([*told_errors, *means]):
        values = (told["mean"].get(name), means.get(name))
        if not _is_same(*values):
            raise _unlike(place or results, file.name, f"the mean of {fold} {name}", values)
    for name, error in frame.sem(ddof=1).items():
        values = (told_errors.get(name), float(error))
        if None not in values and not _is_same(*values):
            what = f"the standard error of {fold} {name}"
            raise _unlike(place or results, file.name, what, values)
    return frame


def read_groups(results: Path) -> pd.DataFrame:
    """Read a run's table of groups, see `recsweep.metrics.groups.Groups`."""

    def parse(file: Path) -> pd.DataFrame:
        content = io.BytesIO(read_bytes(file, MAX_TABLE_BYTES))
        return pd.read_csv(content, index_col="group").astype(float)

    return read(results / GROUPS, parse, pd.DataFrame)


def metrics_by_group(
    results: Path, users: "pd.Index[Any]", place: str | None = None
) -> Groups | None:
    """Read a run's metrics by group on test; None if it has none, as older runs.

    Args:
        results: A run's results folder.
        users: Ids of the test users, in any order.
        place: The run's name in messages; None = the folder.

    Raises:
        InputError: A file is missing or damaged, or the files are not from the same run.
    """
    if not (results / GROUPS).is_file():
        return None
    table = read_groups(results)
    frame = read(results / GROUPS_PER_USER, lambda file: _numbers(read_table(file)), pd.DataFrame)
    others = len(frame.index.symmetric_difference(users))
    if others:
        counts = (len(users), f"{len(frame)}, of which {others} differ")
        raise _unlike(place or results, GROUPS_PER_USER, "the number of users", counts)
    errors = dict(frame.sem(ddof=1).items())
    for column, mean in frame.mean().items():
        name, _, group = str(column).rpartition(" ")
        is_told = name in table and group in table.index
        told = float(table[name][group]) if is_told else None
        if not _is_same(told, float(mean)):
            what = f"the mean of {column}"
            raise _unlike(place or results, GROUPS_PER_USER, what, (told, mean), GROUPS)
        if f"{SE}{name}" in table:
            values = (float(table[f"{SE}{name}"][group]), float(errors[column]))
            if not _is_same(*values):
                what = f"the standard error of {column}"
                raise _unlike(place or results, GROUPS_PER_USER, what, values, GROUPS)
    return Groups(table.reindex(list(NAMES)), frame)


def check_curves(results: Path) -> list[tuple[int, dict[str, float]]]:
    """Read a run's curves: epoch (from 1) and values by name.

    Args:
        results: A run's results folder.

    Raises:
        InputError: A file is missing or damaged, or the two files are not from the same run.
    """
    curves = read(results / CURVES, lambda _: _in_order(read_curves(results)), list)
    best_epoch = read(results / METRICS, lambda _: int(read_metrics(results)["best_epoch"]), int)
    best = dict(curves).get(best_epoch)
    if best is None:
        found = (f"epoch {best_epoch}", f"one of {len(curves)}")
        raise _unlike(results, CURVES, "the best epoch", found)
    chosen_by = f"valid/{_objective(results)}"
    largest = max(curves, key=lambda row: row[1].get(chosen_by, -math.inf))
    if largest[1].get(chosen_by, -math.inf) > best.get(chosen_by, -math.inf) + ROUNDING:
        raise _unlike(
            results, CURVES, f"the epoch of the best {chosen_by}", (best_epoch, largest[0])
        )
    for name, mean in _told(results, "valid")["mean"].items():
        values = (mean, best.get(f"valid/{name}"))
        if not _is_same(*values):
            what = f"valid {name} of the best epoch, {best_epoch},"
            raise _unlike(results, CURVES, what, values)
    return curves


def refuse_other_model(results: Path, item_ids: np.ndarray) -> None:
    """Check that a run's model has the settings and the catalogue of the run.

    Args:
        results: A run's results folder.
        item_ids: The model's items.

    Raises:
        InputError: A file is missing or damaged, or the model is not that of the run.
    """
    of_run, of_model = read_config(results).get("model"), read_yaml(results / MODEL / SPEC)
    if of_run != of_model:
        keys = {*(of_run if isinstance(of_run, Mapping) else {}), *of_model}
        ordered = sorted(keys, key=str)
        key = next((k for k in ordered if (of_run or {}).get(k) != of_model.get(k)), "model")
        values = ((of_run or {}).get(key), of_model.get(key))
        raise _unlike(results, f"{MODEL}/{SPEC}", f"model.{key}", values, CONFIG)
    n_items = read_split(results)[1].get("n_items", len(item_ids))
    if n_items != len(item_ids):
        values = (n_items, len(item_ids))
        raise _unlike(results, f"{MODEL}/{ITEMS}", "the number of items", values, SPLIT)


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of metrics, a row per user."""
    other = [name for name, dtype in frame.dtypes.items() if dtype.kind != "f"]
    if other:
        raise ValueError(f"every column must hold floats, but {str(other[0])!r:.60} does not")
    if not frame.index.is_unique:
        raise ValueError("every user must have one row, but one has several")
    return frame


def _in_order(curves: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    if [epoch for epoch, _ in curves] != list(range(1, len(curves) + 1)):
        raise ValueError("its epochs must be 1, 2, 3 and so on, but are not")
    return curves


def _objective(results: Path) -> str:
    """The metric that the best epoch was chosen by."""
    return read(
        results / METRICS, lambda _: objective_of(read_config(results), read_metrics(results)), str
    )


def _told(results: Path, fold: str) -> dict[str, Any]:
    """The entry of a fold in `metrics.json`."""
    return read(results / METRICS, lambda _: _of_fold(read_metrics(results)[fold], fold), dict)


def _of_fold(found: Any, fold: str) -> Any:
    for part in ("mean", "standard_error"):
        values = found[part] if part == "mean" else found.get(part) or {}
        if not isinstance(values, Mapping):
            raise TypeError(f"{fold} {part} must hold numbers by name, but is {values!r:.60}")
        for name, value in values.items():
            if not isinstance(value, int | float | None):
                raise TypeError(f"{fold} {name} must be a number, but is {value!r:.60}")
    return found


def _is_same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING) or (a != a and b != b)  # noqa: PLR0124


def _unlike(
    place: object, file: str, what: str, values: tuple[object, object], other: str = METRICS
) -> InputError:
    first, second = ("absent" if value is None else value for value in values)
    return InputError(
        f"{other} and {file} must be of the same run, but in {place} {what} is {first} in the "
        f"first and {second} in the second; copy the run's whole folder again, or train again"
    )
