"""Whom to recommend for: users of a data set, or users who bring their history along."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recsweep.data.ids import as_ids, id_texts
from recsweep.data.interactions import quote
from recsweep.data.matrix import from_pairs
from recsweep.data.plain_text import read_pairs
from recsweep.data.transform import Transform
from recsweep.errors import InputError
from recsweep.interfaces import CSR

log = logging.getLogger(__name__)

N_NAMED = 3
CATALOGUE = "the model's catalogue"


class Requested(NamedTuple):
    """Who is to be recommended something.

    Args:
        user_ids: Original ids.
        history: What each user has, users × items; never recommended again.
    """

    user_ids: np.ndarray
    history: CSR

    def chosen(self, names: list[str], skip_unknown: bool) -> "Requested":
        """These users alone, in this order.

        Args:
            names: Ids as text, each once.
            skip_unknown: Leave out who is not here, unless that is everybody.

        Raises:
            InputError: Somebody is not here.
        """
        rows = places(names, self.user_ids)
        found = unknown_ids(pd.Series(names), rows, "requested users", "the run's data set")
        if found and (not skip_unknown or (rows < 0).all()):
            raise InputError(
                f"every requested user must be known, but {found}; remove them, set "
                "task.unknown_users=skip, or give their histories as task.histories=FILE"
            )
        if found:
            log.warning("%s: skipped", found)
        rows = rows[rows >= 0]
        return Requested(self.user_ids[rows], self.history[rows])


def read_histories(
    path: Path, item_ids: np.ndarray, min_rating: float | None, transform: Transform
) -> Requested:
    """Users from a file of `user item [value]` lines, in the order of their first lines.

    Values become what they became in training. Items that the model does not know are left out
    with a warning.

    Args:
        path: The file.
        item_ids: Original ids of the model's items.
        min_rating: Smallest value that counts as a click; None = every positive value. A pair
            without a value is a click.
        transform: Of the clicks' values.

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
) -> Requested:
    """The same from a table of `user`, `item` and, if there are any, `value`.

    Args:
        table: Sound, each pair once.
        source: What messages call it.
        item_ids: See `read_histories`, also for the others.
        min_rating: Smallest value that counts as a click.
        transform: Of the clicks' values.
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
    weights = transform.apply(values[kept].astype(np.float32))
    history = from_pairs(rows[kept], columns[kept], weights, (len(users), len(item_ids)))
    return Requested(users, history)


def places(given: Any, ids: np.ndarray) -> np.ndarray:
    """Where each given id stands among others, -1 where it does not.

    Args:
        given: Ids as anybody writes them, a column of a table included.
        ids: Different ids of a data set or a model.
    """
    coded = as_ids(pd.Series(given, dtype=getattr(given, "dtype", object))).cat
    known = pd.Series(np.arange(len(ids)), index=id_texts(ids))
    known = known[~known.index.duplicated()]  # a model of before this rule may have 10 and 10.0
    at = known.reindex(coded.categories, fill_value=-1).to_numpy()
    return np.append(at, -1)[coded.codes]


def unknown_ids(given: "pd.Series[Any]", at: np.ndarray, source: str, place: str) -> str:
    """How many of how many ids are not where they are looked for, and three of them.

    Args:
        given: Ids, a row each, any number of times.
        at: Where each stands, -1 = nowhere; see `places`.
        source: What has the ids, such as `users of truth.csv`.
        place: Where they are looked for, such as `the data set`.

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


def examples(ids: Any) -> str:
    """The first three ids, and a sign if there are more."""
    return ", ".join([*map(quote, ids[:N_NAMED]), *["…"] * (len(ids) > N_NAMED)])
