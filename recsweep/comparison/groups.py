"""A comparison by popularity of items and by length of histories: descriptive, without tests."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recsweep.comparison.contenders import Contender
from recsweep.comparison.markdown import bullets, escape, markdown_table
from recsweep.comparison.significance import Interval, bootstrap_interval
from recsweep.comparison.statistics import Comparison
from recsweep.metrics.groups import DEFINITIONS as OF_GROUPS
from recsweep.metrics.groups import GROUPS, LEAST, MOST, N_ITEMS, POPULARITY
from recsweep.runs.scored_run import ScoredRun


class GroupScore(NamedTuple):
    """A contender's score in a metric on one group.

    Args:
        mean: Mean over the group's users of the mean over replicates; NaN without users.
        difference: Mean of the first contender minus this one.
        interval: Confidence interval of the difference; None for the first contender, and with
            fewer than two users.
    """

    mean: float
    difference: float
    interval: Interval | None


class GroupRow(NamedTuple):
    """One group in one metric.

    Args:
        metric: A metric such as `ndcg@100`.
        group: Its name, such as `head`.
        n_users: Users in it, or pairs of user and split.
        scores: Scores by contender's name, in the order of the comparison.
    """

    metric: str
    group: str
    n_users: int
    scores: Mapping[str, GroupScore]


def group_rows(found: Comparison) -> list[GroupRow]:
    """A row per metric and group; empty if a run has no groups or they are defined otherwise.

    Args:
        found: The comparison; users are the sample here, whatever its unit.
    """
    if not _have_groups(found):
        return []
    columns = [
        (metric, group, f"{metric} {group}")
        for metric in found.metrics
        for group in GROUPS
        if all(f"{metric} {group}" in _frame(run) for run in _runs(found))
    ]
    return [GroupRow(metric, group, *_scores(found, name)) for metric, group, name in columns]


def _runs(found: Comparison) -> Iterator[ScoredRun]:
    return (run for each in found.contenders for run in each.replicates)


def _frame(run: ScoredRun) -> pd.DataFrame:
    assert run.groups is not None  # noqa: S101 - see _have_groups
    return run.groups.per_user


def _have_groups(found: Comparison) -> bool:
    return all(
        run.groups is not None
        and all(run.definitions.get(name) == text for name, text in OF_GROUPS.items())
        for run in _runs(found)
    )


def _scores(found: Comparison, column: str) -> tuple[int, dict[str, GroupScore]]:
    units = pd.DataFrame({each.name: _of_users(each, column) for each in found.contenders})
    units = units.dropna()  # who is in a group depends on the split alone
    first = units.iloc[:, 0]
    return len(units), {
        str(name): _score(found, values.to_numpy(), (first - values).to_numpy(), place > 0)
        for place, (name, values) in enumerate(units.items())
    }


def _of_users(contender: Contender, column: str) -> pd.Series:
    values = {(run.split, run.seed): _frame(run)[column] for run in contender.replicates}
    return pd.concat(values, names=["split", "seed"]).groupby(level=[0, 2]).mean()


def _score(
    found: Comparison, values: np.ndarray, differences: np.ndarray, has_difference: bool
) -> GroupScore:
    if not len(values):
        return GroupScore(np.nan, np.nan, None)
    how, interval = found.statistics, None
    if has_difference and len(values) > 1:
        interval = bootstrap_interval(differences, how.seed, how.confidence, how.n_resamples)
    return GroupScore(float(values.mean()), float(differences.mean()), interval)


def group_ranges(found: Comparison) -> dict[str, str]:
    """Each group -> its range in numbers; empty for comparisons over several splits."""
    groups = found.contenders[0].replicates[0].groups
    if groups is None or len(found.contenders[0].splits) > 1:
        return {}
    return {str(group): _range(str(group), row) for group, row in groups.table.iterrows()}


def _range(group: str, row: "pd.Series[Any]") -> str:
    is_of_items = group in POPULARITY
    if np.isnan(row[LEAST]):
        return "no items" if is_of_items else "no users"
    least, most = (f"{int(row[name]):,}" for name in (LEAST, MOST))
    values = least if least == most else f"{least} to {most}"
    if not is_of_items:
        return f"history of {values} items"
    return f"{int(row[N_ITEMS]):,} items of {values} interactions"


def tables_of_groups(found: Comparison, rows: Sequence[GroupRow]) -> str:
    """A table per metric in Markdown, with what each group is and how to read it.

    Args:
        found: The comparison.
        rows: See `group_rows`; at least one.
    """
    ranges = group_ranges(found)
    first = escape(found.contenders[0].name)
    about = (
        "Mean over the users of a group; after the comma its difference from that of "
        f"{first} on the same users, ± half of its {found.statistics.confidence:.0%} bootstrap "
        "interval. This describes where models differ: nothing is tested, and intervals are not "
        "corrected for their number, so none of them makes a difference significant."
    )
    tables = [
        markdown_table(
            [metric, "range", "users", *(each.name for each in found.contenders)],
            [
                [row.group, ranges.get(row.group, ""), f"{row.n_users:,}",
                 *map(_group_cell, row.scores.values())]
                for row in rows if row.metric == metric
            ],
        )
        for metric in dict.fromkeys(row.metric for row in rows)
    ]  # fmt: skip
    lines = bullets(f"{name}: {escape(text)}" for name, text in OF_GROUPS.items())
    return "\n\n".join([about, *tables, "\n".join(lines)])


def _group_cell(score: GroupScore) -> str:
    if math.isnan(score.mean):
        return ""
    if score.interval is None:
        return f"{score.mean:.4f}"
    half_width = (score.interval.high - score.interval.low) / 2
    return f"{score.mean:.4f}, {0 - round(score.difference, 4):+.4f} ± {half_width:.4f}"


def group_records(rows: Sequence[GroupRow]) -> list[dict[str, Any]]:
    """A row per metric, group and contender."""
    return [
        {"metric": row.metric, "group": row.group, "n_users": row.n_users, "model": name,
         "mean": score.mean, "first": next(iter(row.scores)), "difference": score.difference,
         "low": score.interval.low if score.interval else np.nan,
         "high": score.interval.high if score.interval else np.nan}
        for row in rows
        for name, score in row.scores.items()
    ]  # fmt: skip
