"""The users to recommend to: users of a data set, or users given with their histories."""

import logging
import re
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recsweep.data.ids import as_ids, id_texts
from recsweep.data.interactions import quote
from recsweep.data.matrix import from_pairs
from recsweep.data.plain_text import read_pairs
from recsweep.data.transform import Transform, transformed
from recsweep.errors import InputError
from recsweep.interfaces import CSR

log = logging.getLogger(__name__)

N_NAMED = 3
CATALOGUE = "the model's catalogue"


class RequestedUsers(NamedTuple):
    """Users to recommend to.

    Args:
        user_ids: Original ids.
        history: Each user's items, users × items; never recommended again.
    """

    user_ids: np.ndarray
    history: CSR

    def select(self, names: list[str], skip_unknown: bool) -> "RequestedUsers":
        """Only these users, in this order.

        Args:
            names: Ids as text, without duplicates.
            skip_unknown: Whether to drop unknown users, unless all are unknown.

        Raises:
            InputError: A user is unknown.
        """
        rows = places(names, self.user_ids)
        found = unknown_ids(pd.Series(names), rows, "requested users", "the run's data set")
        if found and (not skip_unknown or (rows < 0).all()):
            raise InputError(
                f"every requested user must be known, but {found}, "
                f"{self._spelling(list(compress(names, rows < 0)))}; remove them, set "
                "task.unknown_users=skip, or give their histories as task.histories=FILE"
            )
        if found:
            log.warning("%s: skipped", found)
        rows = rows[rows >= 0]
        return RequestedUsers(self.user_ids[rows], self.history[rows])

    def _spelling(self, unknown: list[str]) -> str:
        """How the data set writes the id of an unknown user, or ids in general."""
        known = {_without_spelling(each): each for each in map(str, self.user_ids)}
        for name in unknown:
            if meant := known.get(_without_spelling(name)):
                return f"which writes {meant!r} for {name!r}"
        return (
            f"whose ids look like {str(self.user_ids[0])!r} and which lacks users with fewer "
            "interactions than data.min_user_interactions"
        )


def _without_spelling(name: str) -> str:
    """An id without case, punctuation and leading zeros."""
    return re.sub(r"[\W_]|(?<!\d)0+(?=\d)", "", name).lower() or name


def read_histories(
    path: Path, item_ids: np.ndarray, min_rating: float | None, transform: Transform
) -> RequestedUsers:
    """Read users from a file of `user item [value]` lines, in the order of their first lines.

    Values are transformed as in training. Items unknown to the model are dropped with a warning.

    Args:
        path: The file.
        item_ids: Original ids of the model's items.
        min_rating: Smallest value that counts as a click; None = every positive value. A pair
            without a value is a click.
        transform: Transform of the clicks' values.

    Raises:
        InputError: See `read_pairs`; or the model knows no item of the file.
    """
    table = read_pairs(path)
    at = places(table["item"], item_ids)
    if (at < 0).all():
        found = unknown_ids(table["item"], at, f"items of {path}", CATALOGUE)
        raise InputError(
            f"histories must have items of the model, such as {examples(item_ids)}, but {found}; "
            "check that both have the same ids"
        )
    return histories(table, str(path), item_ids, min_rating, transform)


def histories(
    table: pd.DataFrame,
    source: str,
    item_ids: np.ndarray,
    min_rating: float | None,
    transform: Transform,
) -> RequestedUsers:
    """The same from a table of `user`, `item` and optionally `value`.

    Args:
        table: A valid table without repeated pairs.
        source: Its name in messages.
        item_ids: See `read_histories`.
        min_rating: Smallest value that counts as a click.
        transform: Transform of the clicks' values.

    Raises:
        InputError: A transformed value is too large or too small for models.
    """
    rows, users = pd.factorize(as_ids(table["user"]).astype(object).to_numpy())
    columns = places(table["item"], item_ids)
    values, is_click = np.ones(len(table)), np.ones(len(table), bool)
    if "value" in table:
        values = table["value"].to_numpy()
        is_click = values > 0 if min_rating is None else values >= min_rating
    is_known = columns >= 0
    if found := unknown_ids(table["item"], columns, f"items of {source}", CATALOGUE):
        log.warning("%s: ignored", found)
    kept = is_click & is_known
    is_empty = ~np.isin(np.arange(len(users)), rows[kept])
    if is_empty.any():
        shown = examples(users[is_empty])
        log.warning(
            "%s of %s users of %s have no item that counts (%s): scored as new",
            f"{is_empty.sum():,}", f"{len(users):,}", source, shown,
        )  # fmt: skip
    remedy = f"give the values of {source} on the scale of the training data"
    weights = transformed(values[kept].astype(np.float32), transform, remedy)
    history = from_pairs(rows[kept], columns[kept], weights, (len(users), len(item_ids)))
    return RequestedUsers(users, history)


def places(given: Any, ids: np.ndarray) -> np.ndarray:
    """Position of each given id in `ids`; -1 if it is unknown.

    Args:
        given: Ids in any form, such as a column of a table.
        ids: Distinct ids of a data set or a model.
    """
    coded = as_ids(pd.Series(given, dtype=getattr(given, "dtype", object))).cat
    known = pd.Series(np.arange(len(ids)), index=id_texts(ids))
    known = known[~known.index.duplicated()]  # a model from before this rule may have 10 and 10.0
    at = known.reindex(coded.categories, fill_value=-1).to_numpy()
    return np.append(at, -1)[coded.codes]


def unknown_ids(given: "pd.Series[Any]", at: np.ndarray, source: str, place: str) -> str:
    """How many of the ids are unknown, with three examples.

    Args:
        given: Ids, one per row, possibly repeated.
        at: Position of each, -1 = unknown; see `places`.
        source: Where the ids come from, such as `users of truth.csv`.
        place: Where they are looked up, such as `the data set`.

    Returns:
        Empty if none is unknown.
    """
    ids = as_ids(given)
    unknown = list(ids[at < 0].unique())
    if not unknown:
        return ""
    return (
        f"{len(unknown):,} of {ids.nunique():,} {source} are not in {place} ({examples(unknown)})"
    )


def examples(ids: Sequence[object] | np.ndarray) -> str:
    """The first three ids, and an ellipsis if there are more."""
    return ", ".join([*map(quote, ids[:N_NAMED]), *["…"] * (len(ids) > N_NAMED)])
