"""Whom to recommend for: users of a data set, or users who bring their history along."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recsweep.data.interactions import quoted
from recsweep.data.matrix import from_pairs
from recsweep.data.plain_text import read_pairs
from recsweep.data.transform import Transform
from recsweep.errors import InputError
from recsweep.interfaces import CSR

log = logging.getLogger(__name__)

N_NAMED = 5


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
        if (rows < 0).any():
            self._tell_unknown([names[i] for i in np.flatnonzero(rows < 0)], names, skip_unknown)
            rows = rows[rows >= 0]
        return Requested(self.user_ids[rows], self.history[rows])

    def _tell_unknown(self, unknown: list[str], names: list[str], skip: bool) -> None:
        shown = ", ".join([*map(quoted, unknown[:N_NAMED]), *["…"] * (len(unknown) > N_NAMED)])
        found = f"{len(unknown):,} of {len(names):,} requested users are not in it ({shown})"
        if not skip or len(unknown) == len(names):
            raise InputError(
                f"every requested user must be in the run's data set, but {found}; remove them, "
                "set task.unknown_users=skip, or give their histories as task.histories=FILE"
            )
        log.warning("%s: skipped", found.replace("in it", "in the run's data set"))


def read_histories(
    path: Path, item_ids: np.ndarray, min_rating: float | None, transform: Transform
) -> Requested:
    """Users from a file of `user item [value]` lines, in the order of their first lines.

    Values become what they became in training. Items that the model does not know are left out.

    Args:
        path: The file.
        item_ids: Original ids of the model's items.
        min_rating: Smallest value that counts as a click; None = every positive value. A pair
            without a value is a click.
        transform: Of the clicks' values.

    Raises:
        InputError: See `read_pairs`.
    """
    return histories(read_pairs(path), str(path), item_ids, min_rating, transform)


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
    rows, users = pd.factorize(table["user"].astype(str).to_numpy(object))
    columns = places(table["item"].astype(str), item_ids)
    values, is_click = np.ones(len(table)), np.ones(len(table), bool)
    if "value" in table:
        values = table["value"].to_numpy()
        is_click = values > 0 if min_rating is None else values >= min_rating
    is_known = columns >= 0
    if n_unknown := table["item"][~is_known].nunique():
        log.warning("%s items of %s are not in the model's catalogue: ignored", n_unknown, source)
    kept = is_click & is_known
    if n_empty := len(users) - len(np.unique(rows[kept])):
        log.warning("%s users of %s have no item that counts: scored as new", n_empty, source)
    weights = transform.apply(values[kept].astype(np.float32))
    history = from_pairs(rows[kept], columns[kept], weights, (len(users), len(item_ids)))
    return Requested(users, history)


def places(texts: Iterable[str], ids: np.ndarray) -> np.ndarray:
    """Where each text stands among the ids, -1 where it does not; ids are compared as text."""
    known = pd.Index([str(each) for each in ids.tolist()], dtype=object)
    return known.get_indexer(pd.Index(texts, dtype=object))
