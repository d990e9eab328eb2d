"""Accuracy on items of like popularity, and for users with histories of like length."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from recsweep.interfaces import CSR
from recsweep.metrics.metric import UserMetric
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
    return np.minimum(3 * n_before // max(n_all, 1), 2)


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
    n_relevant = _n_relevant(members, of_item)
    items = lists.top_items(lists.hits.shape[1])
    of_rank = of_item[items]
    values = {}
    for number, group in enumerate(POPULARITY):
        is_in = n_relevant[:, number] > 0
        part = replace(
            lists,
            hits=lists.hits[is_in] & (of_rank[is_in] == number),
            n_relevant=n_relevant[is_in, number],
            items=items[is_in],
        )
        for name, (metric, k) in metrics.items():
            found = metric.per_user(part, k) if is_in.any() else np.empty(0)
            values[name, group] = _spread(found, is_in)
    for number, group in enumerate(HISTORY):
        is_in = of_user == number
        for name in metrics:
            values[name, group] = _spread(per_user[name].to_numpy()[is_in], is_in)
    table = pd.DataFrame(
        [
            *(_of_items(popularity[of_item == number]) for number in range(3)),
            *(_range(lengths[of_user == number]) for number in range(3)),
        ],
        pd.Index(GROUPS, name="group"),
        [LEAST, MOST, N_ITEMS],
        "Int64",
    )
    columns = {f"{name} {group}": values[name, group] for name in metrics for group in GROUPS}
    frame = pd.DataFrame(columns, per_user.index)
    return Groups(_summarised(table, frame, list(metrics)), frame)


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


def _spread(values: np.ndarray, is_in: np.ndarray) -> np.ndarray:
    """A value per user: NaN outside the group."""
    spread = np.full(len(is_in), np.nan)
    spread[is_in] = values
    return spread


def _of_items(n_interactions: np.ndarray) -> list[int | None]:
    return [*_range(n_interactions)[:2], len(n_interactions)]


def _range(values: np.ndarray) -> list[int | None]:
    return [int(values.min()), int(values.max()), None] if len(values) else [None, None, None]


def _summarised(
    table: pd.DataFrame, per_user: pd.DataFrame, metrics: Sequence[str]
) -> pd.DataFrame:
    """The table with the number of users, means and standard errors."""
    first = per_user[[f"{metrics[0]} {group}" for group in GROUPS]]
    table[N_USERS] = first.count().to_numpy()
    for prefix, found in (("", per_user.mean()), (SE, per_user.sem(ddof=1))):
        for name in metrics:
            table[f"{prefix}{name}"] = [found[f"{name} {group}"] for group in GROUPS]
    return table
