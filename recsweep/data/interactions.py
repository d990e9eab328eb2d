"""Who interacted with what: the one form in which data travels inside recsweep."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recsweep.errors import InputError
from recsweep.interfaces import CSR

COLUMNS = ("user", "item", "value")


def fingerprint(*arrays: np.ndarray) -> str:
    """sha256 over shapes, types and contents, the same on every machine."""
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype.kind in "OU":
            array = np.array([str(entry).encode() for entry in array])  # noqa: PLW2901
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def matrix_arrays(matrix: CSR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix as arrays whose types do not depend on its size."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
    )


def _natural_ids(labels: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Ids in ascending order and the order itself; whole numbers sort as numbers."""
    texts = labels.astype(str)
    if len(texts) and texts.str.fullmatch(r"-?(0|[1-9]\d{0,17})").all():
        ids: np.ndarray = texts.to_numpy(dtype=str).astype(np.int64)
    else:
        ids = texts.to_numpy(dtype=object)
    order = np.argsort(ids, kind="stable")
    return ids[order], order


def _encoded(column: "pd.Series[Any]") -> tuple[np.ndarray, np.ndarray]:
    """Code of each row and the ids that the codes stand for."""
    codes, labels = pd.factorize(column)
    ids, order = _natural_ids(pd.Index(labels))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], ids


@dataclass(frozen=True)
class Interactions:
    """An immutable users × items matrix with the original ids of both axes.

    Users and items ascend by id; within a user, items keep the order of the source.

    Args:
        matrix: float32 values, one per user–item pair.
        user_ids: int64 or strings.
        item_ids: int64 or strings.
    """

    matrix: CSR
    user_ids: np.ndarray
    item_ids: np.ndarray

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "Interactions":
        """From rows of user, item, value.

        Args:
            table: Columns `user`, `item` (any hashable ids) and `value` (finite numbers).

        Raises:
            InputError: A pair occurs twice.
        """
        users, user_ids = _encoded(table["user"])
        items, item_ids = _encoded(table["item"])
        order = np.argsort(users, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))])
        values = table["value"].to_numpy(np.float32)[order]
        shape = (len(user_ids), len(item_ids))
        matrix = sp.csr_matrix((values, items[order], indptr), shape=shape)
        result = cls(matrix, user_ids, item_ids)
        result._refuse_duplicates()
        return result

    def _refuse_duplicates(self) -> None:
        n_users, n_items = self.matrix.shape
        users = np.repeat(np.arange(n_users), np.diff(self.matrix.indptr))
        pairs = np.sort(users * n_items + self.matrix.indices)
        repeats = pairs[1:][pairs[1:] == pairs[:-1]]
        if len(repeats):
            user, item = divmod(int(repeats[0]), n_items)
            raise InputError(
                "every user-item pair must occur once, but "
                f"{len(np.unique(repeats)):,} pairs occur more than once (first: user "
                f"{self.user_ids[user]}, item {self.item_ids[item]}); merge them in the file, or "
                "with data=csv set data.duplicates=last, sum or max"
            )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ids, pairs and values."""
        return fingerprint(self.user_ids, self.item_ids, *matrix_arrays(self.matrix))

    def filtered(self, min_rating: float | None, min_user_interactions: int) -> "Interactions":
        """Clicks: values of at least `min_rating`, of users who have enough of them.

        Args:
            min_rating: Smallest value that counts as a click; None = every positive value.
            min_user_interactions: Users with fewer clicks are dropped; then items without any.

        Returns:
            A matrix of ones.

        Raises:
            InputError: Nothing is left.
        """
        kept = self.matrix.data > 0 if min_rating is None else self.matrix.data >= min_rating
        users = np.repeat(np.arange(self.matrix.shape[0]), np.diff(self.matrix.indptr))
        n_clicks = np.bincount(users[kept], minlength=self.matrix.shape[0])
        kept &= (n_clicks >= min_user_interactions)[users]
        users, items = users[kept], self.matrix.indices[kept]
        if not len(users):
            raise InputError(
                f"at least one user must have {min_user_interactions} interactions with a value of "
                f"at least {min_rating}, but none of {len(n_clicks):,} has (values run from "
                f"{self.matrix.data.min():g} to {self.matrix.data.max():g}); lower data.min_rating "
                "or data.min_user_interactions"
            )
        users_left, rows = np.unique(users, return_inverse=True)
        items_left, columns = np.unique(items, return_inverse=True)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows))])
        ones = np.ones(len(rows), np.float32)
        matrix = sp.csr_matrix((ones, columns, indptr), shape=(len(users_left), len(items_left)))
        return Interactions(matrix, self.user_ids[users_left], self.item_ids[items_left])
