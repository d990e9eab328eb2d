"""Holds the repeat of a run against the run: what it runs with, and what it measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from recsweep.comparison.past_run import read

UNKNOWN = "unknown"
WITHOUT_EFFECT = ("git.commit", "git.dirty")
"""Where the code comes from; its own hash says whether it is the same."""
FOLDS = {"valid": "validation", "test": "test"}
SHOWN, SHOWN_CHARACTERS = 10, 40

Verdict = Literal["identical", "reproduced", "not reproduced"]


class Difference(NamedTuple):
    """A field of the environment that has another value now.

    Args:
        field: Its name, such as `version.numpy`.
        was: In the run.
        now: In its repeat.
    """

    field: str
    was: str
    now: str

    def __str__(self) -> str:
        """One line; the beginning of a fingerprint tells it from another."""
        was, now = (text[:SHOWN_CHARACTERS] for text in (self.was, self.now))
        return f"{self.field}: {was} → {now}"


def differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """What a repeat runs with that its run did not, in the order of `now`.

    Args:
        was: The run's environment, see `recsweep.app.tags`, or more.
        now: The repeat's.
    """
    gone = [name for name in was if name.startswith("version.") and name not in now]
    pairs = [Difference(name, was.get(name, UNKNOWN), now.get(name, UNKNOWN)) for name in now]
    pairs += [Difference(name, was[name], UNKNOWN) for name in gone]
    return [pair for pair in pairs if pair.was != pair.now]


def may_change_metrics(changed: list[Difference], device: str) -> str:
    """Why metrics need not be the same to the last bit; empty = they must be.

    Args:
        changed: See `differences`.
        device: What the repeat computes on.
    """
    fields = [each.field for each in changed if each.field not in WITHOUT_EFFECT]
    if fields:
        return f"{', '.join(fields)} may change them"
    return "" if device == "cpu" else f"{device} adds in any order"


class Measured(NamedTuple):
    """What a run measured.

    Args:
        best_epoch: From 1.
        means: Fold -> metric -> its mean over users, or the catalogue's value.
        per_user: Fold -> a column per metric; index: user ids.
    """

    best_epoch: int
    means: dict[str, dict[str, float]]
    per_user: dict[str, pd.DataFrame]

    @classmethod
    def of(cls, results: Path) -> "Measured":
        """Read a run's files.

        Raises:
            InputError: One is missing or damaged.
        """
        best_epoch, means = read(results / "metrics.json", _epoch_and_means, tuple)
        frames = {
            fold: read(results / f"{fold}_metrics_per_user.parquet", pd.read_parquet, pd.DataFrame)
            for fold in FOLDS
        }
        return cls(best_epoch, means, frames)


def _epoch_and_means(file: Path) -> tuple[int, dict[str, dict[str, float]]]:
    summary = json.loads(file.read_text(encoding="utf-8"))
    return int(summary["best_epoch"]), {fold: dict(summary[fold]["mean"]) for fold in FOLDS}


def compared(was: Measured, now: Measured) -> pd.DataFrame:
    """A row per metric of each fold, the largest difference first.

    Columns: `metric`, such as `test ndcg@100`, `was`, `now`, `difference` of the two, and of how
    many users the value changed, `n_users`. What only one of them has differs by infinity.
    """
    rows = []
    for fold, shown in FOLDS.items():
        before, after = was.means[fold], now.means[fold]
        changed = _n_changed(was.per_user[fold], now.per_user[fold])
        for name in {**before, **after}:
            values = before.get(name, np.nan), after.get(name, np.nan)
            rows.append((f"{shown} {name}", *values, values[1] - values[0], changed.get(name, 0)))
    table = pd.DataFrame(rows, columns=["metric", "was", "now", "difference", "n_users"])
    table["difference"] = table["difference"].fillna(np.inf)
    return table.sort_values("difference", key=np.abs, ascending=False, kind="stable")


def _n_changed(was: pd.DataFrame, now: pd.DataFrame) -> dict[str, int]:
    """Of how many users each metric has another value; who is in one of them alone has."""
    was, now = was.align(now)
    is_same = (was == now) | (was.isna() & now.isna())
    return {str(name): int(n) for name, n in (~is_same).sum().items()}


@dataclass(frozen=True)
class Comparison:
    """How a repeat compares to its run.

    Args:
        was: What the run measured.
        now: What its repeat measured.
        tolerance: Largest difference of a mean; None = every value must be identical.
    """

    was: Measured
    now: Measured
    tolerance: float | None

    @cached_property
    def table(self) -> pd.DataFrame:
        """See `compared`: of the metrics that differ."""
        table = compared(self.was, self.now)
        return table[(table["difference"] != 0) | (table["n_users"] > 0)]

    @property
    def n_too_far(self) -> int:
        """Metrics that differ by more than they may."""
        far = self.table["difference"].abs()
        return len(far) if self.tolerance is None else int((far > self.tolerance).sum())

    @property
    def verdict(self) -> Verdict:
        """How it went."""
        if self.table.empty:
            return "identical"
        return "not reproduced" if self.n_too_far else "reproduced"

    def summary(self) -> str:
        """One line, after the largest differences if there are any."""
        n_metrics = sum(map(len, self.was.means.values()))
        if self.table.empty:
            n_users = sum(map(len, self.now.per_user.values()))
            return f"identical: {n_metrics} metrics of {n_users:,} users, bit for bit"
        most = self.table.iloc[0]
        largest = f"largest difference {abs(most.difference):.2g} ({most.metric})"
        within = "" if self.tolerance is None else f" within {self.tolerance:g}"
        differ = "differ by more" if within and self.n_too_far else "differ"
        count = f"{self.n_too_far or len(self.table)} of {n_metrics} metrics {differ}"
        return f"{self.verdict}{within}: {count}, {largest}"

    def plain(self) -> dict[str, Any]:
        """For YAML."""
        return {
            "verdict": self.verdict,
            "tolerance": self.tolerance or 0.0,
            "best_epoch": {"was": self.was.best_epoch, "is": self.now.best_epoch},
            "metrics": {
                row["metric"]: {"was": row["was"], "is": row["now"], "n_users": row["n_users"]}
                for row in self.table.to_dict("records")
            },
        }


def table_of_differences(table: pd.DataFrame) -> str:
    """The largest differences, a line each.

    Args:
        table: See `compared`; with a row at least.
    """
    width = max(map(len, table["metric"]))
    lines = [f"{'':<{width}} {'was':>10} {'is':>10} {'difference':>11} {'users':>7}"]
    for metric, was, now, difference, n_users in table.head(SHOWN).itertuples(index=False):
        numbers = f"{was:>10.6f} {now:>10.6f} {difference:>+11.1e} {n_users:>7,}"
        lines.append(f"{metric:<{width}} {numbers}")
    return "\n".join(lines)
