"""Histories and recommendations as pandas tables."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd

from recsweep.app import build_group
from recsweep.data.ids import as_ids
from recsweep.data.interactions import quote
from recsweep.data.table import LARGEST, as_float64
from recsweep.data.user_histories import CATALOGUE, RequestedUsers, histories, places, unknown_ids
from recsweep.errors import InputError
from recsweep.recommendations.files import Ranking
from recsweep.recommendations.fitted_model import FittedModel, rank_items

UNKNOWN_ITEMS = ("ignore", "refuse")


def recommend_to(
    fitted: FittedModel,
    table: pd.DataFrame,
    k: int = 10,
    unknown_items: Literal["ignore", "refuse"] = "ignore",
) -> pd.DataFrame:
    """Recommend the best unseen items to each user of a table of histories.

    Args:
        fitted: The model.
        table: A row per interaction: `user`, `item` (original ids) and optionally `value`, on the
            scale of the model's data; a pair without a value is a click. A user without any
            click on a known item is scored as new.
        k: Items per user.
        unknown_items: How to treat items unknown to the model.

    Returns:
        `user`, `rank` (1 = best), `item` and `score`; users in the order of their first rows. A
        user who has almost all items gets fewer than k.

    Raises:
        InputError: The table, `k` or `unknown_items` cannot be used.
    """
    n_items = len(fitted.item_ids)
    is_whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if not is_whole or not 1 <= k <= n_items:
        raise InputError(f"k must be from 1 to the catalogue's {n_items:,} items, but is {k!r}")
    if unknown_items not in UNKNOWN_ITEMS:
        raise InputError(
            f"unknown_items must be {' or '.join(UNKNOWN_ITEMS)}, but is {unknown_items!r}"
        )
    requested = _requested(fitted, _checked(table), unknown_items == "refuse")
    batch_size = fitted.settings.evaluation_batch_size
    return as_table(rank_items(fitted, requested, k, batch_size), fitted.item_ids)


def _requested(fitted: FittedModel, table: pd.DataFrame, is_strict: bool) -> RequestedUsers:
    """The users, and their histories with values transformed as in training."""
    settings, item_ids = fitted.settings, fitted.item_ids
    at = places(table["item"], item_ids)
    found = unknown_ids(table["item"], at, "items of the histories", CATALOGUE)
    if is_strict and found:
        raise InputError(
            f"every item must be known, but {found}; remove them, or set unknown_items=ignore"
        )
    transform = build_group(settings, "transform", "apply")
    least = settings.data.get("min_rating")
    requested = histories(table, "the histories", item_ids, least, transform)
    is_first = ~as_ids(table["user"]).duplicated()
    return requested._replace(user_ids=table["user"][is_first].to_numpy())


def _checked(table: object) -> pd.DataFrame:
    """A valid table of histories; values as float64."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            "histories must be a pandas DataFrame with a row per interaction, but are of type "
            f"{type(table).__name__}"
        )
    names = [str(name) for name in table.columns]
    if sorted(set(names) | {"value"}) != ["item", "user", "value"] or len(set(names)) < len(names):
        raise InputError(
            "histories must have the columns user, item and, if there are any, value, but have "
            f"{', '.join(names) or 'none'}; rename or drop columns"
        )
    pairs = pd.DataFrame({name: as_ids(table[name]) for name in ("user", "item")})
    _refuse_rows(table, pairs.isna().any(axis=1), "name a user and an item, as text or numbers")
    _refuse_rows(table, pairs.duplicated(), "be a pair of user and item that occurs once")
    if "value" in table:
        if table["value"].dtype.kind in "mMc":
            raise InputError(
                "the column value of the histories must hold numbers, but has "
                f"{table['value'].dtype}; convert it"
            )
        numbers = pd.to_numeric(table["value"], errors="coerce")
        width = getattr(numbers.dtype, "itemsize", 8) if numbers.dtype.kind == "f" else 8
        values = pd.Series(as_float64(numbers.to_numpy(f"f{width}", na_value=np.nan)), table.index)
        is_bad = ~values.between(0, LARGEST)
        _refuse_rows(table, is_bad, f"have a number from 0 to {LARGEST:.8g} as value")
        table = table.assign(value=values)
    return table


def _refuse_rows(table: pd.DataFrame, is_bad: "pd.Series[bool]", must: str) -> None:
    if is_bad.any():
        first = ", ".join(f"{name} {quote(entry)}" for name, entry in table[is_bad].iloc[0].items())
        raise InputError(
            f"every row of the histories must {must}, but {int(is_bad.sum()):,} rows do not "
            f"(first: {first}); fix or remove them"
        )


def as_table(rankings: Iterable[Ranking], item_ids: np.ndarray) -> pd.DataFrame:
    """A row per recommendation."""
    lists = list(rankings)
    lengths = [len(each.items) for each in lists]
    users = np.fromiter((each.user for each in lists), object, len(lists))  # also if tuples
    users = np.repeat(users, lengths)
    return pd.DataFrame(
        {
            "user": pd.Series(users).infer_objects(),
            "rank": np.concatenate([np.arange(0), *map(np.arange, lengths)]) + 1,
            "item": np.concatenate([item_ids[:0], *(each.items for each in lists)]),
            "score": np.concatenate([np.zeros(0, np.float32), *(each.scores for each in lists)]),
        }
    )
