"""Accuracy on items of like popularity, and for users with histories of like length."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from recsweep.interfaces import CSR
from recsweep.metrics.metric import UserMetric, finite_per_user
from recsweep.metrics.ranked_lists import RankedLists

POPULARITY, HISTORY = ("head", "mid", "tail"), ("short", "medium", "long")
GROUPS = (*POPULARITY, *HISTORY)
DEFINITIONS = {
    "head, mid, tail": (
        "Terciles of the training interactions, by items from the most popular down: head is the "
        "smallest set of items with at least 1/3 of them, head and mid that with at least 2/3, "
        "tail the rest; equally popular items stay together. The lists are those of all items, "
        "but only held-out items of the group are relevant, and users without any are left out"
    ),
    "short, medium, long": (
        "Terciles of the users by the number of items in their history, from the shortest up: "
        "short is the smallest set with at least 1/3 of the users, short and medium that with at "
        "least 2/3, long the rest; users with equally long histories stay together"
    ),
}
"""Names of groups -> what they are."""
LEAST, MOST, N_ITEMS, N_USERS = "least", "most", "n_items", "n_users"
SE = "se "
"""Before the name of a metric: the standard error of its mean."""


class Groups(NamedTuple):
    """Metrics by group.

    Args:
        table: A row per group: `least` and `most`, the range of an item's training interactions
            or of a history's length, `n_items`, `n_users`, then each metric's mean, and
            its standard error as `se ndcg@100`; NaN where there is none.
        per_user: A column per metric and group, such as `ndcg@100 head`, NaN for users who are not
            in the group; index: user ids.
    """

    table: pd.DataFrame
    per_user: pd.DataFrame


class Members(NamedTuple):
    """What the groups are made of.

    Args:
        history: Of the users of the lists.
        target: Of the same users.
        n_unknown: Held-out items per user that have no column; they are in the tail.
    """

    history: CSR
    target: CSR
    n_unknown: Int[np.ndarray, " users"] | None


def popularity_terciles(n_interactions: Int[np.ndarray, " items"]) -> Int[np.ndarray, " items"]:
    """The group of each item: 0 = head, 1 = mid, 2 = tail.

    An item is in the head if all items that are more popular have less than 1/3 of the
    interactions, in the tail if they have at least 2/3. Groups of equal interactions, not of
    equally many items: most items have few interactions, and almost no target would be among them.

    Args:
        n_interactions: Training interactions of each item.

    Source:
        Wu et al. 2021, Self-supervised graph learning for recommendation, section 4.3: items in
        groups of equal interactions, recall by group.
    """
    values, place = np.unique(n_interactions, return_inverse=True)
    with_value = values * np.bincount(place)
    more_popular = with_value.sum() - np.cumsum(with_value)
    return _tercile(more_popular, int(with_value.sum()))[place]


def history_terciles(lengths: Int[np.ndarray, " users"]) -> Int[np.ndarray, " users"]:
    """The group of each user: 0 = short, 1 = medium, 2 = long.

    A user is in the first if less than 1/3 of the users have a shorter history, in the last if at
    least 2/3 have.

    Args:
        lengths: Items in the history of each user.

    Source:
        Liang et al. 2018, Variational autoencoders for collaborative filtering: NDCG@100 by the
        number of items in the fold-in set, in quintiles of the users.
    """
    n_shorter = np.searchsorted(np.sort(lengths), lengths)
    return _tercile(n_shorter, len(lengths))


def _tercile(n_before: Int[np.ndarray, " each"], n_all: int) -> Int[np.ndarray, " each"]:
    """0, 1 or 2; whole numbers, so that no share is rounded."""
    return np.minimum(3 * n_before // max(n_all, 1), 2).astype(np.int8)  # a byte: fast to compare


def measure_groups(
    lists: RankedLists,
    members: Members,
    metrics: Mapping[str, tuple[UserMetric, int]],
    per_user: pd.DataFrame,
) -> Groups:
    """Compute metrics by popularity of the held-out items and by length of the history.

    Args:
        lists: With items and their popularity.
        members: Histories and targets of the same users.
        metrics: Name, such as `ndcg@100` -> the metric and its cut-off.
        per_user: These metrics of each user, all items together.
    """
    popularity, lengths = lists.training_popularity(), np.diff(members.history.indptr)
    of_item, of_user = popularity_terciles(popularity), history_terciles(lengths)
    n_relevant, items = _n_relevant(members, of_item), lists.top_items(lists.hits.shape[1])
    of_rank = of_item[items]
    is_in: dict[str, np.ndarray] = {}
    values: dict[tuple[str, str], np.ndarray] = {}
    for number, group in enumerate(POPULARITY):
        users = is_in[group] = n_relevant[:, number] > 0
        part = replace(
            lists,
            hits=lists.hits[users] & (of_rank[users] == number),
            n_relevant=n_relevant[users, number],
            items=items[users],
        )
        ids = per_user.index[users]
        for name, (metric, k) in metrics.items():
            found = metric.per_user(part, k) if users.any() else np.empty(0)
            values[name, group] = finite_per_user(found, ids, name.rpartition("@")[0])
    for number, group in enumerate(HISTORY):
        users = is_in[group] = of_user == number
        for name in metrics:
            values[name, group] = per_user[name].to_numpy()[users]
    ranges = [
        *([*_range(of), len(of)] for of in (popularity[of_item == n] for n in range(3))),
        *([*_range(lengths[of_user == n]), None] for n in range(3)),
    ]
    return Groups(_table(ranges, values), _frame(is_in, values, per_user.index))


def _n_relevant(
    members: Members, of_item: Int[np.ndarray, " items"]
) -> Int[np.ndarray, "users groups"]:
    """Held-out items of each user in each group of items."""
    n_users = members.target.shape[0]
    row = np.repeat(np.arange(n_users), np.diff(members.target.indptr))
    place = 3 * row + of_item[members.target.indices]
    counts = np.bincount(place, minlength=3 * n_users).reshape(n_users, 3)
    if members.n_unknown is not None:
        counts[:, 2] += members.n_unknown
    return counts


def _range(values: np.ndarray) -> list[int | None]:
    return [int(values.min()), int(values.max())] if len(values) else [None, None]


def _table(
    ranges: Sequence[Sequence[int | None]], values: Mapping[tuple[str, str], np.ndarray]
) -> pd.DataFrame:
    """A row per group; NumPy counts, since pandas would take longer than the metrics."""
    metrics = dict.fromkeys(name for name, _ in values)
    columns: dict[str, Any] = {
        name: pd.array(column, "Int64")
        for name, column in zip((LEAST, MOST, N_ITEMS), zip(*ranges, strict=True), strict=True)
    }
    columns[N_USERS] = [len(values[next(iter(metrics)), group]) for group in GROUPS]
    for name in metrics:
        found = [values[name, group] for group in GROUPS]
        columns[name] = [each.mean() if len(each) else np.nan for each in found]
    for name in metrics:
        found = [values[name, group] for group in GROUPS]
        columns[f"{SE}{name}"] = [
            each.std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else np.nan for each in found
        ]
    return pd.DataFrame(columns, pd.Index(GROUPS, name="group"))


def _frame(
    is_in: Mapping[str, np.ndarray],
    values: Mapping[tuple[str, str], np.ndarray],
    users: "pd.Index[Any]",
) -> pd.DataFrame:
    """A column per metric and group, NaN outside the group."""
    names = [
        (name, group) for name in dict.fromkeys(name for name, _ in values) for group in GROUPS
    ]
    cells = np.full((len(names), len(users)), np.nan)
    for row, (name, group) in zip(cells, names, strict=True):
        row[is_in[group]] = values[name, group]
    return pd.DataFrame(cells.T, users, [f"{name} {group}" for name, group in names])
