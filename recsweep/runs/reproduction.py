"""Compares the repeat of a run with the run: environment, metrics, curves and weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from recsweep.environment import NOT_INSTALLED
from recsweep.persistence import WEIGHTS
from recsweep.run_files import (
    DEFINITIONS,
    METRICS,
    MODEL,
    read,
    read_metrics,
    read_split,
    read_yaml,
)
from recsweep.runs.consistency import check_curves, metrics_by_group, metrics_per_user
from recsweep.runs.weights import ArrayDifference, compare_arrays, names_of_arrays

UNKNOWN = "unknown"
NOT_COMPARED = ("git.commit", "git.dirty")
"""The origin of the code; whether it is the same is checked by its hash."""
FOLDS = {"valid": "validation", "test": "test"}
SHOWN, SHOWN_CHARACTERS = 10, 40

Verdict = Literal["identical", "reproduced", "not reproduced"]


class Difference(NamedTuple):
    """A field of the environment whose value has changed.

    Args:
        field: Its name, such as `version.numpy`.
        was: Its value in the run.
        now: Its value in the repeat.
    """

    field: str
    was: str
    now: str

    def __str__(self) -> str:
        """One line; fingerprints are shortened."""
        was, now = (text[:SHOWN_CHARACTERS] for text in (self.was, self.now))
        return f"{self.shown}: {was} → {now}"

    @property
    def shown(self) -> str:
        """The field's name for display."""
        return re.sub(r"^code\.", "code of ", self.field)


def environment_differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Differences between the environments of a run and its repeat, in the order of `now`.

    Args:
        was: The run's environment, see `recsweep.app.run_tags`; may have further fields.
        now: The repeat's environment.
    """
    gone = [name for name in was if name.startswith("version.") and name not in now]
    pairs = [Difference(name, was.get(name, UNKNOWN), now.get(name, UNKNOWN)) for name in now]
    pairs += [Difference(name, was[name], UNKNOWN) for name in gone]
    return [pair for pair in pairs if pair.was != pair.now and pair.field not in NOT_COMPARED]


def may_change_metrics(changed: list[Difference], device: str) -> str:
    """Why metrics may differ in the last bits; empty = they must be identical.

    Args:
        changed: See `environment_differences`.
        device: The repeat's device.
    """
    fields = [each.shown for each in changed if NOT_INSTALLED not in each]
    if fields:
        return f"{', '.join(fields)} may change them"
    return "" if device == "cpu" else f"{device} adds in any order"


class Measured(NamedTuple):
    """The metrics, curves and weights of a run.

    Args:
        split: Fingerprint of the split data.
        best_epoch: The best epoch, from 1.
        means: Fold -> metric -> its mean over users, or the catalogue's value; with those by group.
        per_user: Fold -> a column per metric; index: user ids.
        curves: A column per curve, seconds left out; index: epoch, from 1.
        weights: The file with its model's weights; None = not kept.
        definitions: Metric -> what it is.
        n_without_target: Fold -> users that were left out.
    """

    split: str
    best_epoch: int
    means: dict[str, dict[str, float]]
    per_user: dict[str, pd.DataFrame]
    curves: pd.DataFrame
    weights: Path | None
    definitions: dict[str, str]
    n_without_target: dict[str, int]

    @classmethod
    def of(cls, results: Path, *, with_weights: bool = True) -> "Measured":
        """Read a run's files.

        Args:
            results: Its results folder.
            with_weights: Whether its model was kept.

        Raises:
            InputError: A file is missing or damaged, or two files are not from the same run.
        """
        best_epoch, means, left_out = read(results / METRICS, lambda _: _told(results), tuple)
        frames = {fold: metrics_per_user(results, fold) for fold in FOLDS}
        groups = metrics_by_group(results, frames["test"].index)
        if groups is not None:
            frames["test"] = frames["test"].join(groups.per_user)
            for column in map(str, groups.per_user):
                name, _, group = column.rpartition(" ")
                means["test"][column] = float(groups.table[name][group])
        split, _ = read_split(results)
        rows = dict(check_curves(results))
        curves = pd.DataFrame(list(rows.values()), list(rows))
        curves = curves[[name for name in curves if "/" in str(name)]]
        weights = results / MODEL / WEIGHTS if with_weights else None
        definitions = read_yaml(results / DEFINITIONS)
        return cls(split, best_epoch, means, frames, curves, weights, definitions, left_out)


def _told(results: Path) -> tuple[int, dict[str, dict[str, float]], dict[str, int]]:
    """The best epoch; each fold's means, and the number of users without a target."""
    metrics = read_metrics(results)
    means = {
        fold: {name: np.nan if v is None else v for name, v in metrics[fold]["mean"].items()}
        for fold in FOLDS
    }
    left_out = {fold: int(metrics[fold].get("n_without_target", 0)) for fold in FOLDS}
    return int(metrics["best_epoch"]), means, left_out


def compare_metrics(was: Measured, now: Measured) -> pd.DataFrame:
    """A row per metric of each fold, the largest difference first.

    Columns: `metric`, such as `test ndcg@100`, `was`, `now`, their `difference`, and `n_users`, the
    number of users whose value changed. Metrics in only one of the two differ by infinity. A last
    column, `far`, is the size of the difference, relative to metrics above 1, such as entropy.
    """
    rows = []
    for fold, shown in FOLDS.items():
        before, after = was.means[fold], now.means[fold]
        changed = _n_changed(was.per_user[fold], now.per_user[fold])
        has_groups = any(" " in name for name in before)  # an older run has none
        for name in (each for each in {**before, **after} if has_groups or " " not in each):
            values = before.get(name, np.nan), after.get(name, np.nan)
            is_same = name in before and name in after and np.isnan(values).all()
            difference = 0.0 if is_same else np.nan_to_num(values[1] - values[0], nan=np.inf)
            rows.append((f"{shown} {name}", *values, difference, changed.get(name, 0)))
    table = pd.DataFrame(rows, columns=["metric", "was", "now", "difference", "n_users"])
    table["far"] = table["difference"].abs() / table["was"].abs().clip(lower=1).fillna(1)
    return table.sort_values("far", ascending=False, kind="stable")


def _n_changed(was: pd.DataFrame, now: pd.DataFrame) -> dict[str, int]:
    """Number of users whose value changed, by metric; users in only one table are counted."""
    was, now = was.align(now)
    is_same = (was == now) | (was.isna() & now.isna())
    return {str(name): int(n) for name, n in (~is_same).sum().items()}


def compare_curves(was: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """A row per changed curve, the largest difference first.

    Columns: `curve`, such as `train/loss`, `n_epochs` in which it differs, the `first_epoch` of
    them, and the largest `difference`. Curves in only one of the two differ by infinity.
    """
    was, now = was.align(now)
    is_changed = ~((was == now) | (was.isna() & now.isna()))
    distance = (now - was).abs().where(is_changed, 0.0).fillna(np.inf)
    rows = [
        (
            name,
            int(changed.sum()),
            int(was.index[int(changed.argmax())]),
            float(distance[name].max()),
        )
        for name, changed in is_changed.items()
        if changed.any()
    ]
    table = pd.DataFrame(rows, columns=["curve", "n_epochs", "first_epoch", "difference"])
    return table.sort_values("difference", ascending=False, kind="stable")


@dataclass(frozen=True)
class Comparison:
    """The comparison of a repeat with its run.

    Args:
        was: Results of the run.
        now: Results of the repeat.
        tolerance: Largest allowed difference of a mean, relative to means above 1; None =
            everything must be identical.
    """

    was: Measured
    now: Measured
    tolerance: float | None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The metrics that differ, see `compare_metrics`."""
        table = compare_metrics(self.was, self.now)
        return table[(table["difference"] != 0) | (table["n_users"] > 0)]

    @property
    def n_too_far(self) -> int:
        """Number of metrics that differ by more than the tolerance."""
        far = self.table["far"]
        return len(far) if self.tolerance is None else int((far > self.tolerance).sum())

    @cached_property
    def curves(self) -> pd.DataFrame:
        """See `compare_curves`."""
        return compare_curves(self.was.curves, self.now.curves)

    @cached_property
    def weights(self) -> list[ArrayDifference]:
        """See `compare_arrays`."""
        if self.was.weights is None or self.now.weights is None:
            return []
        return compare_arrays(self.was.weights, self.now.weights)

    @property
    def beside_metrics(self) -> dict[str, str]:
        """Other differences -> their size, in words."""
        found = {}
        if self.was.split != self.now.split:
            found["split"] = f"{self.was.split[:12]} → {self.now.split[:12]}"
        if self.was.best_epoch != self.now.best_epoch:
            found["best epoch"] = f"{self.was.best_epoch} → {self.now.best_epoch}"
        if not self.curves.empty:
            found["curves"] = self._of_curves()
        if self.weights:
            found["weights"] = self._of_weights()
        was, now = self.was.definitions, self.now.definitions
        if changed := [name for name in was if was[name] != now.get(name)]:  # older runs have fewer
            found["definitions"] = f"{', '.join(changed)} differ"
        if self.was.n_without_target != self.now.n_without_target:
            counts = [
                f"{shown} {self.was.n_without_target[fold]} → {self.now.n_without_target[fold]}"
                for fold, shown in FOLDS.items()
            ]
            found["users without target"] = ", ".join(counts)
        return found

    def _of_curves(self) -> str:
        most, lengths = self.curves.iloc[0], (len(self.was.curves), len(self.now.curves))
        n_curves = len(self.was.curves.columns.union(self.now.curves.columns))
        trained = "" if lengths[0] == lengths[1] else f"{lengths[0]} epochs → {lengths[1]}; "
        return (
            f"{trained}{len(self.curves)} of {n_curves} differ, from epoch "
            f"{self.curves['first_epoch'].min()} on, largest difference {most.difference:.2g} "
            f"({most.curve})"
        )

    def _of_weights(self) -> str:
        assert self.now.weights is not None  # noqa: S101 - they differ
        most, n_arrays = self.weights[0], len(names_of_arrays(self.now.weights))
        if most.was != most.now:
            how = f"{most.name}: {most.was} → {most.now}"
        else:
            how = f"largest difference {most.largest:.2g} ({most.name})"
        n_changed = sum(each.n_changed for each in self.weights)
        numbers = f"{n_changed:,} number{'s' * (n_changed != 1)}"
        return f"{len(self.weights)} of {n_arrays} arrays differ, in {numbers}, {how}"

    @property
    def verdict(self) -> Verdict:
        """The outcome; with a tolerance, only metrics decide."""
        if self.table.empty and not self.beside_metrics:
            return "identical"
        is_exact = self.tolerance is None
        return "not reproduced" if is_exact or self.n_too_far else "reproduced"

    def lines(self) -> list[str]:
        """All lines before the verdict: the differences, and the metrics that differ most."""
        width = max(map(len, self.beside_metrics), default=0)
        lines = [f"{what:<{width}}  {how}" for what, how in self.beside_metrics.items()]
        if not self.table.empty:
            return [*lines, table_of_differences(self.table)]
        if lines:
            return lines
        n_epochs, n_curves = self.now.curves.shape
        return [
            f"the same: split, best epoch, {n_curves} curves over {n_epochs} "
            f"epoch{'s' * (n_epochs != 1)}{', every weight' * (self.was.weights is not None)}"
        ]

    def summary(self) -> str:
        """One line, to print after `lines`."""
        n_metrics = sum(map(len, self.was.means.values()))
        if self.verdict == "identical":
            n_users = sum(map(len, self.now.per_user.values()))
            return f"identical: {n_metrics} metrics of {n_users:,} users, bit for bit"
        within = "" if self.tolerance is None else f" within {self.tolerance:g}"
        parts = []
        if not self.table.empty:
            most = self.table.iloc[0]
            differ = "differ by more" if within and self.n_too_far else "differ"
            parts += [
                f"{self.n_too_far or len(self.table)} of {n_metrics} metrics {differ}",
                f"largest difference {abs(most.difference):.2g} ({most.metric})",
            ]
        if self.beside_metrics:
            parts.append(f"other {' and '.join(self.beside_metrics)}")
        return f"{self.verdict}{within}: {', '.join(parts)}"

    def plain(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {
            "verdict": self.verdict,
            "tolerance": self.tolerance or 0.0,
            "split": {"was": self.was.split, "is": self.now.split},
            "best_epoch": {"was": self.was.best_epoch, "is": self.now.best_epoch},
            "n_epochs": {"was": len(self.was.curves), "is": len(self.now.curves)},
            "metrics": {
                row["metric"]: {"was": row["was"], "is": row["now"], "n_users": row["n_users"]}
                for row in self.table.to_dict("records")
            },
            "curves": {row.pop("curve"): row for row in self.curves.to_dict("records")},
            "weights": {
                each.name: {
                    "was": each.was, "is": each.now, "n_changed": each.n_changed,
                    "n_numbers": each.n_numbers, "difference": each.largest,
                }
                for each in self.weights
            },
        }  # fmt: skip


def table_of_differences(table: pd.DataFrame) -> str:
    """The largest differences, one per line.

    Args:
        table: See `compare_metrics`; at least one row.
    """
    width = max(map(len, table["metric"]))
    lines = [f"{'':<{width}} {'was':>10} {'is':>10} {'difference':>11} {'users':>7}"]
    columns = ["metric", "was", "now", "difference", "n_users"]
    for row in table[columns].head(SHOWN).itertuples(index=False):
        metric, was, now, difference, n_users = row
        numbers = f"{was:>10.6f} {now:>10.6f} {difference:>+11.1e} {n_users:>7,}"
        lines.append(f"{metric:<{width}} {numbers}")
    return "\n".join(lines)
