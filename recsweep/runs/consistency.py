"""Reads a run's metrics per user and its curves, and checks them against its `metrics.json`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from recsweep.errors import InputError
from recsweep.metrics.groups import GROUPS as NAMES
from recsweep.metrics.groups import Groups
from recsweep.run_files import (
    CURVES,
    GROUPS,
    GROUPS_PER_USER,
    METRICS,
    per_user_file,
    read,
    read_curves,
    read_metrics,
)

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
    file = per_user_file(results, fold)
    frame = read(file, pd.read_parquet, pd.DataFrame)
    told = _told(results, fold)
    users = (told.get("n_users", len(frame)), len(frame))
    if users[0] != users[1]:
        raise _unlike(place or results, file.name, "the number of users", users)
    means = {str(name): float(value) for name, value in frame.mean().items()}
    for name in dict.fromkeys([*told.get("standard_error", ()), *means]):
        values = (told["mean"].get(name), means.get(name))
        if not _is_same(*values):
            raise _unlike(place or results, file.name, f"the mean of {fold} {name}", values)
    return frame


def read_groups(results: Path) -> pd.DataFrame:
    """Read a run's table of groups, see `recsweep.metrics.groups.Groups`."""

    def parse(file: Path) -> pd.DataFrame:
        return pd.read_csv(file, index_col="group").astype(float)

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
    frame = read(results / GROUPS_PER_USER, pd.read_parquet, pd.DataFrame)
    others = len(frame.index.symmetric_difference(users))
    if others:
        counts = (len(users), f"{len(frame)}, of whom {others} are others")
        raise _unlike(place or results, GROUPS_PER_USER, "the number of users", counts)
    for column, mean in frame.mean().items():
        name, _, group = str(column).rpartition(" ")
        told = float(table[name][group]) if name in table and group in table.index else None
        if not _is_same(told, float(mean)):
            what = f"the mean of {column}"
            raise _unlike(place or results, GROUPS_PER_USER, what, (told, mean), GROUPS)
    return Groups(table.reindex(list(NAMES)), frame)


def checked_curves(results: Path) -> list[tuple[int, dict[str, float]]]:
    """Read a run's curves: epoch (from 1) and values by name.

    Args:
        results: A run's results folder.

    Raises:
        InputError: A file is missing or damaged, or the two files are not from the same run.
    """
    curves = read_curves(results)
    best_epoch = read(results / METRICS, lambda _: int(read_metrics(results)["best_epoch"]), int)
    best = dict(curves).get(best_epoch)
    if best is None:
        found = (f"epoch {best_epoch}", f"one of {len(curves)}")
        raise _unlike(results, CURVES, "the best epoch", found)
    for name, mean in _told(results, "valid")["mean"].items():
        values = (mean, best.get(f"valid/{name}"))
        if not _is_same(*values):
            what = f"valid {name} of the best epoch, {best_epoch},"
            raise _unlike(results, CURVES, what, values)
    return curves


def _told(results: Path, fold: str) -> dict[str, Any]:
    """The entry of a fold in `metrics.json`."""
    return read(results / METRICS, lambda _: _of_fold(read_metrics(results)[fold], fold), dict)


def _of_fold(found: Any, fold: str) -> Any:
    if not isinstance(found["mean"], Mapping):
        raise TypeError(f"{fold} has no means")
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
