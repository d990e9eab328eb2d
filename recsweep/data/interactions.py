"""Who interacted with what: the one representation of data inside recsweep."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recsweep.data.ids import as_ids
from recsweep.data.matrix import (
    find_repeated_pairs,
    fingerprint,
    from_pairs,
    keep_columns,
    keep_entries,
    matrix_arrays,
)
from recsweep.errors import InputError
from recsweep.interfaces import CSR


def quote(entry: object) -> str:
    """A piece of user data for a message: short and on one line."""
    text = repr(entry.item() if isinstance(entry, np.generic) else entry)
    return text if len(text) <= 80 else f"{text[:80]}… ({len(text):,} characters)"


def parse_ids(texts: Any) -> np.ndarray:
    """Ids as int64 if each is a whole number as Python writes it, else as text.

    Args:
        texts: Distinct ids, as text; see `recsweep.data.ids`.
    """
    index = pd.Index(texts).astype(str)
    if len(index) and index.str.fullmatch(r"0|-?[1-9][0-9]{0,17}").all():
        return index.to_numpy(dtype=str).astype(np.int64)
    return index.to_numpy(dtype=object)


def _encoded(column: "pd.Series[Any]") -> tuple[np.ndarray, np.ndarray]:
    """The code of each row, and the ids behind the codes in ascending order."""
    categories = as_ids(column).cat
    codes = categories.codes.to_numpy()
    if codes.min(initial=0) < 0:
        raise InputError(
            f"every row must have a {column.name} id, text or a number, but row "
            f"{codes.argmin() + 1:,} has none; fix or remove it"
        )
    is_used = np.zeros(len(categories.categories), bool)
    is_used[codes] = True
    ids, rank = np.unique(parse_ids(categories.categories[is_used]), return_inverse=True)
    new_codes = np.zeros(len(is_used), np.int32)
    new_codes[is_used] = rank
    return new_codes[codes], ids


@dataclass(frozen=True)
class Interactions:
    """An immutable users × items matrix with the original ids of both axes.

    Users and items are sorted by id; a user's items keep the order of the source.

    Args:
        matrix: A value per user–item pair: float64 as read, float32 once filtered.
        user_ids: int64 or strings.
        item_ids: int64 or strings.
        times: One number per entry of `matrix`, in its order, that increases with time; None =
            the source has none. They are no part of the fingerprint.
    """

    matrix: CSR
    user_ids: np.ndarray
    item_ids: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Interactions":
        """Create from rows of user, item, value.

        Args:
            table: Columns `user`, `item` (ids of any kind), `value` (finite numbers) and optionally
                `timestamp` (see `times`).

        Raises:
            InputError: A pair occurs twice, or an id is missing.
        """
        users, user_ids = _encoded(table["user"])
        items, item_ids = _encoded(table["item"])
        shape = (len(user_ids), len(item_ids))
        matrix = from_pairs(users, items, table["value"].to_numpy(), shape, np.float64)
        times = None
        if "timestamp" in table:
            times = table["timestamp"].to_numpy()[np.argsort(users, kind="stable")]
        result = cls(matrix, user_ids, item_ids, times)
        result._refuse_duplicates()
        return result

    def _refuse_duplicates(self) -> None:
        repeated = find_repeated_pairs(self.matrix)
        if len(repeated):
            user, item = repeated[0]
            raise InputError(
                f"every user-item pair must occur once, but {len(repeated):,} occur more than once "
                f"(first: user {quote(self.user_ids[user])}, item {quote(self.item_ids[item])}); "
                "merge them in the file, or with data=csv set data.duplicates=last, sum or max"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, pairs and values."""
        return fingerprint(self.user_ids, self.item_ids, *matrix_arrays(self.matrix))

    def filter(self, min_rating: float | None, min_user_interactions: int) -> "Interactions":
        """The clicks (values of at least `min_rating`) of users with enough of them.

        Args:
            min_rating: Smallest value that counts as a click; None = every positive value.
            min_user_interactions: Users with fewer clicks are dropped; then items without any.

        Raises:
            InputError: Nothing is left.
        """
        values = self.matrix.data  # not yet rounded to float32, which has 16777217 as 16777216
        is_click = values > 0 if min_rating is None else values >= min_rating
        clicks = keep_entries(self.matrix, is_click)
        clicks.data = clicks.data.astype(np.float32)  # the matrix's astype would sort the items
        is_active = np.diff(clicks.indptr) >= min_user_interactions
        is_kept = np.repeat(is_active, np.diff(clicks.indptr))
        users = np.flatnonzero(is_active)
        clicks = clicks[users]
        if not clicks.nnz:
            threshold = "above 0" if min_rating is None else f"of at least {min_rating:g}"
            raise InputError(
                f"at least one user must have {min_user_interactions:,} interactions with a value "
                f"{threshold}, but none of {len(self.user_ids):,} has (values run from "
                f"{values.min(initial=np.inf):g} to {values.max(initial=-np.inf):g}); lower "
                "data.min_rating or data.min_user_interactions"
            )
        items = np.flatnonzero(np.bincount(clicks.indices))
        return Interactions(
            matrix=keep_columns(clicks, items),
            user_ids=self.user_ids[users],
            item_ids=self.item_ids[items],
            times=None if self.times is None else self.times[is_click][is_kept],
        )
